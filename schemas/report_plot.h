/* report_plot.h - plots of the HTML report as inline SVG: lines over time, and the reliability diagram.
 *
 * Colours are the page's (classes c0 … c5, CSS variables), so that dark and light are one file.  Nothing is fetched.
 */
#ifndef SCHEMAS_REPORT_PLOT_H
#define SCHEMAS_REPORT_PLOT_H
#include "schemas/report.h"

struct report_line {
    const char *name; /* in the legend */
    const double *y;  /* (n) NaN: a gap */
    int colour;       /* 0 … 5 */
};
struct report_axes {
    const char *title; /* plain text, and what a screen reader is told */
    const double *x;   /* (n) ascending, ms since 1970 */
    size_t n;
    double level; /* a dashed line that belongs to the figure (calibration's 1); NaN: none */
};
/* Nothing is written when there are fewer than two points of x. */
void report_plot_lines(struct buf *b, const struct report_axes *a, const struct report_line *lines, size_t n_lines);
void report_plot_reliability(struct buf *b, const struct report_detail *d);
#endif
