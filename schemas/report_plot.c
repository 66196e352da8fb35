/* report_plot.c - see report_plot.h. */
#include "schemas/report_plot.h"
#include "base/clock.h"
#include <math.h>
#include <stdio.h>

enum { WIDTH = 860, HEIGHT = 260, LEFT = 56, RIGHT = 16, TOP = 34, BOTTOM = 30, TICKS = 5, SQUARE = 320 };

struct frame { /* what the axes span, and where that lies */
    double x0, x1, y0, y1;
    double left, right, top, bottom;
};

static double at_x(const struct frame *f, double x)
{
    return f->left + (x - f->x0) / (f->x1 - f->x0) * (f->right - f->left);
}

static double at_y(const struct frame *f, double y)
{
    return f->bottom - (y - f->y0) / (f->y1 - f->y0) * (f->bottom - f->top);
}

/* 1, 2 or 5 times a power of ten: about TICKS of them. */
static double step_of(double span)
{
    const double raw = span / TICKS, power = pow(10.0, floor(log10(raw))), part = raw / power;
    return power * (part <= 1.0 ? 1.0 : part <= 2.0 ? 2.0 : part <= 5.0 ? 5.0 : 10.0);
}

static void widen(struct frame *f, double y)
{
    if (isnan(y)) return;
    if (!(f->y0 <= y)) f->y0 = y; /* NaN at first */
    if (!(f->y1 >= y)) f->y1 = y;
}

/* Whole steps below and above what is drawn. */
static void round_y(struct frame *f)
{
    if (isnan(f->y0)) f->y0 = 0.0, f->y1 = 1.0;
    if (!(f->y1 - f->y0 > 1e-9)) f->y0 -= 0.05, f->y1 += 0.05;
    const double step = step_of(f->y1 - f->y0);
    f->y0 = floor(f->y0 / step) * step;
    f->y1 = ceil(f->y1 / step) * step;
}

static void open_svg(struct buf *b, int width, int height, const char *title)
{
    buf_printf(b, "<svg role=\"img\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\"><title>%s</title>\n", width,
               height, width, height, title);
}

static void put_y_grid(struct buf *b, const struct frame *f)
{
    const double step = step_of(f->y1 - f->y0);
    for (double y = f->y0; y < f->y1 + step / 2.0; y += step)
        buf_printf(b,
                   "<line class=\"g\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/><text class=\"e\" x=\"%.1f\" "
                   "y=\"%.1f\">%.4g</text>\n",
                   f->left, f->right, at_y(f, y), at_y(f, y), f->left - 6.0, at_y(f, y) + 4.0,
                   fabs(y) < step / 2.0 ? 0.0 : y);
}

/* Day, or minute where all is within two days. */
static void put_x_labels(struct buf *b, const struct frame *f)
{
    const bool days = f->x1 - f->x0 > 2.0 * 86400000.0;
    for (int i = 0; i <= 4; i++) {
        char when[CLOCK_TEXT];
        const double x = f->x0 + (f->x1 - f->x0) * i / 4.0;
        clock_format((int64_t)x, when);
        buf_printf(b, "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\">",
                   i == 0   ? "s"
                   : i == 4 ? "e"
                            : "m",
                   at_x(f, x), f->bottom + 18.0);
        buf_put(b, days ? when : when + 5, days ? 10 : 11); /* 2011-03-04, or 03-04T05:06 */
        buf_printf(b, "</text>\n");
    }
}

static void put_line(struct buf *b, const struct frame *f, const struct report_axes *a, const struct report_line *l)
{
    bool drawing = false;
    buf_printf(b, "<path class=\"c%d\" d=\"", l->colour);
    for (size_t i = 0; i < a->n; i++) {
        if (!isnan(l->y[i])) buf_printf(b, "%c%.1f %.1f", drawing ? 'L' : 'M', at_x(f, a->x[i]), at_y(f, l->y[i]));
        drawing = !isnan(l->y[i]);
    }
    buf_printf(b, "\"/>\n");
}

static void put_legend(struct buf *b, const struct report_line *lines, size_t n, double left)
{
    for (size_t i = 0; i < n; i++) {
        buf_printf(
            b, "<line class=\"c%d\" x1=\"%.0f\" x2=\"%.0f\" y1=\"12\" y2=\"12\"/><text x=\"%.0f\" y=\"16\">%s</text>\n",
            lines[i].colour, left, left + 16.0, left + 21.0, lines[i].name);
        left += 130.0;
    }
}

void report_plot_lines(struct buf *b, const struct report_axes *a, const struct report_line *lines, size_t n_lines)
{
    if (a->n < 2) return;
    struct frame f = {a->x[0], a->x[a->n - 1], NAN, NAN, LEFT, WIDTH - RIGHT, TOP, HEIGHT - BOTTOM};
    for (size_t k = 0; k < n_lines; k++)
        for (size_t i = 0; i < a->n; i++) widen(&f, lines[k].y[i]);
    widen(&f, a->level);
    round_y(&f);
    open_svg(b, WIDTH, HEIGHT, a->title);
    put_y_grid(b, &f);
    put_x_labels(b, &f);
    if (!isnan(a->level))
        buf_printf(b, "<line class=\"d\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>\n", f.left, f.right,
                   at_y(&f, a->level), at_y(&f, a->level));
    for (size_t k = n_lines; k-- > 0;) put_line(b, &f, a, &lines[k]); /* the first lies on top */
    put_legend(b, lines, n_lines, LEFT);
    buf_printf(b, "</svg>\n");
}

/* ---- reliability ---- */

static void put_share(struct buf *b, const struct frame *f, const struct report_reliability *x)
{
    buf_printf(
        b,
        "<line class=\"c0\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/><circle class=\"f0\" cx=\"%.1f\" "
        "cy=\"%.1f\" r=\"4\"><title>predicted %.4g, observed %.4g (%.4g to %.4g), %llu examples</title></circle>\n",
        at_x(f, x->predicted), at_x(f, x->predicted), at_y(f, x->low), at_y(f, x->high), at_x(f, x->predicted),
        at_y(f, x->observed), x->predicted, x->observed, x->low, x->high, (unsigned long long)x->examples);
}

void report_plot_reliability(struct buf *b, const struct report_detail *d)
{
    double most = 0.0;
    for (uint32_t i = 0; i < d->n_reliability; i++)
        most = fmax(most, fmax(d->reliability[i].predicted, d->reliability[i].high));
    if (!(most > 0.0)) return;
    const double step = step_of(most);
    most = ceil(most / step) * step;
    const struct frame f = {0.0, most, 0.0, most, LEFT, LEFT + SQUARE, 12, 12 + SQUARE};
    open_svg(b, LEFT + SQUARE + RIGHT, SQUARE + 62, "Reliability: observed share over predicted probability");
    put_y_grid(b, &f);
    for (double x = 0.0; x < most + step / 2.0; x += step)
        buf_printf(b, "<text class=\"m\" x=\"%.1f\" y=\"%.1f\">%.4g</text>\n", at_x(&f, x), f.bottom + 18.0, x);
    buf_printf(b, "<line class=\"d\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", f.left, f.bottom, f.right,
               f.top);
    for (uint32_t i = 0; i < d->n_reliability; i++) put_share(b, &f, &d->reliability[i]);
    buf_printf(b, "<text class=\"m\" x=\"%.1f\" y=\"%.1f\">predicted; observed upwards</text>\n</svg>\n",
               (f.left + f.right) / 2.0, f.bottom + 40.0);
}
