/* jsonroom.h - how much memory the values of a JSON text will take, told before it is read.
 *
 * A small text can hold very many values: `{},` is 3 bytes to send and 400 to keep.  The JSON library has no bound of its
 * own, and aborts where memory that it asks for while it reads is refused; so texts are refused before.  Thread: any.
 */
#ifndef BASE_JSONROOM_H
#define BASE_JSONROOM_H
#include "base/str.h"

/* May the text's values, read by jansson, take more than `most` bytes?  An estimate by its commas and brackets, in texts
 * too, never too low by more than a quarter.  Texts that are too short for it are not looked at. */
bool jsonroom_over(struct str text, size_t most);
#endif
