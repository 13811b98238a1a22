/*
 * arguments.h: command lines by table.
 *
 *     static const tb_option table[] = {
 *         {"--threads", "-j", TB_ARG_INT, offsetof(my_options, threads), "N", "threads to use"},
 *         {0}};
 *     TB_TRY(tb_arguments_parse(&options, table, arena, argc, argv, &rest, error));
 */
#ifndef TB_TOOLS_ARGUMENTS_H
#define TB_TOOLS_ARGUMENTS_H

#include "base/memory.h"

typedef enum tb_argument_kind {
    TB_ARG_FLAG,  /**< bool */
    TB_ARG_INT,   /**< int >= 0 */
    TB_ARG_COUNT, /**< int >= 1 */
    TB_ARG_TEXT,  /**< const char * */
    TB_ARG_TEXTS, /**< tb_texts: may be repeated */
    TB_ARG_FLOAT, /**< double */
    TB_ARG_FACTOR /**< double > 0 */
} tb_argument_kind;

typedef struct tb_option {
    const char *name, *alias; /**< alias may be NULL */
    tb_argument_kind kind;
    size_t offset;       /**< of the member in the options' struct */
    const char *value;   /**< what the value is called in the help, NULL for flags */
    const char *summary; /**< NULL ends a table's row list together with name = NULL */
} tb_option;

typedef struct tb_texts {
    int count;
    const char **items;
} tb_texts;

/** Fills the struct `options` by the table (ended by a row without a name); what is no option is
 *  collected in `rest` in order ("--" ends the options). Both --name VALUE and --name=VALUE. Errors
 *  name the option and, for an unknown one, the nearest known one. */
tiba_status tb_arguments_parse(void *options, const tb_option *table, tb_arena *arena, int argc,
                               char **argv, tb_texts *rest, tiba_error *error);

/** Prints the table for people; options without a summary stand together at its end. */
void tb_arguments_help(const tb_option *table);

#endif
