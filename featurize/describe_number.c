/* describe_number.c - numbers as sentences show them.
 *
 * Every event may bring a price, and the C library's printing takes longer than all else that is done with one; so what has few digits
 * is written here, where that gives the same.
 */
#include "featurize/describe.h"
#include <math.h>
#include <stdio.h>

#define MILLIONTHS 1e6
#define SHORT_MOST 1e9 /* below it a product with MILLIONTHS is less than a tenth off */

/* Millionths of x, where rounding them says what printing six decimals does: not where that product lies near a half. */
static bool short_number(double x, uint64_t *millionths)
{
    const double exact = fabs(x) * MILLIONTHS, whole = floor(exact), rest = exact - whole;
    if (!(fabs(x) < SHORT_MOST) || fabs(rest - 0.5) < 0.2) return false;
    *millionths = (uint64_t)whole + (rest > 0.5);
    return true;
}

/* Of millionths: the digits, without zeros at the end. */
static size_t put_short(char out[DESCRIBE_NUMBER_MAX], bool negative, uint64_t millionths)
{
    char digits[24];
    size_t n = 0, at = 0;
    unsigned decimals = 6;
    for (; decimals > 0 && millionths % 10 == 0; decimals--) millionths /= 10;
    for (unsigned left = decimals; left > 0; left--, millionths /= 10) digits[n++] = (char)('0' + millionths % 10);
    if (decimals > 0) digits[n++] = '.';
    do digits[n++] = (char)('0' + millionths % 10);
    while ((millionths /= 10) > 0);
    if (negative) out[at++] = '-';
    while (n > 0) out[at++] = digits[--n];
    return at;
}

size_t describe_number(char out[DESCRIBE_NUMBER_MAX], double x)
{
    uint64_t millionths;
    if (!isfinite(x)) return 0;
    if (short_number(x, &millionths)) return put_short(out, x < 0 && millionths > 0, millionths);
    if (fabs(x) >= 1e15) return (size_t)snprintf(out, DESCRIBE_NUMBER_MAX, "%.15g", x);
    size_t n = (size_t)snprintf(out, DESCRIBE_NUMBER_MAX, "%.6f", x);
    while (out[n - 1] == '0') n--;
    if (out[n - 1] == '.') n--;
    if (n == 2 && out[0] == '-' && out[1] == '0') {
        out[0] = '0';
        n = 1;
    }
    return n;
}
