/*
 * report.h: what a run and its explanations come to, for people and for programs.
 */
#ifndef TB_TOOLS_REPORT_H
#define TB_TOOLS_REPORT_H

#include "tools/subject.h"

typedef struct tb_explained {
    tiba_request request;
    tiba_result *result;
} tb_explained;

typedef struct tb_report {
    const tb_subject *subject;
    const tb_sample *sample;
    const tiba_run *run;
    int64_t classes;     /**< of sample 0 of the explained output; 0 if it is no class vector */
    double *probability; /**< [classes] */
    int64_t *order;      /**< [classes] most likely first */
    int n_explained;
    tb_explained *explained;
} tb_report;

/** Works out probabilities and their order: softmax of the logits, or what the graph's own final
 *  Softmax or Sigmoid gave. */
tiba_status tb_report_classes(tb_report *report, tb_arena *arena, tiba_error *error);
/** The class at a place in the order. */
int64_t tb_report_class(const tb_report *report, int64_t place);
/** "coat 81.3 %" and the line below it for the explanation at `index`. */
void tb_report_caption(const tb_report *report, int index, char *caption, char *detail,
                       size_t capacity);
/** To standard output. `png` is the file that was written, NULL if none. */
void tb_report_print(const tb_report *report, const char *png);
/** As JSON text from the arena. */
tiba_status tb_report_json(char **out, const tb_report *report, tb_arena *arena, tiba_error *error);

#endif
