/* check_advice.h - what an operator does about a rejected event, by its reason code.
 *
 * One sentence each; reasons that the list does not know (a map's rules, later versions) get the general one.
 */
#ifndef CLI_CHECK_ADVICE_H
#define CLI_CHECK_ADVICE_H

const char *cmd_check_advice(const char *reason); /* static; never NULL */
#endif
