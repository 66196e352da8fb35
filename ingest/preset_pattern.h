/* preset_pattern.h - how much a map's regular expression costs to compile, known before it is.
 *
 * regcomp writes repetitions out: a{9} is nine copies, a+ two, and what stands in them is copied with them, so that a few
 * nested or stacked ones take gigabytes.  Here they are only counted.
 */
#ifndef INGEST_PRESET_PATTERN_H
#define INGEST_PRESET_PATTERN_H
#include <stddef.h>

#define PRESET_PATTERN_MAX 500 /* atoms, repetitions written out */

/* Atoms of an extended regular expression (POSIX) with its repetitions written out; SIZE_MAX / 2 when there are more, or
 * groups nested over 64 deep, or a repetition of a repetition.  Of what is no expression any number.  Thread: any. */
size_t preset_pattern_atoms(const char *pattern);
#endif
