/*
 * inspect.h: what `tiba-onnx inspect` is made of: inputs that are made up, and the two forms of
 * what is shown.
 */
#ifndef TB_TOOLS_INSPECT_H
#define TB_TOOLS_INSPECT_H

#include "tools/subject.h"

/** A model and what came of binding it. */
typedef struct tb_inspection {
    const tb_subject *subject;
    const tb_sample *sample; /**< NULL where no inputs could be made */
    bool made_up;            /**< its feeds were made up */
    tiba_run *run;           /**< NULL where the model cannot be bound: `why` says why */
    const char *why;
    const tiba_obstacle *obstacles; /**< then: all nodes in the way */
    int n_obstacles;
    bool nodes; /**< name the nodes of every rewrite */
} tb_inspection;

/** Makes up feeds for every input: the declared sizes; where those are open one sample, tokens, or
 *  a picture as the folder or custom has it, an empty past. `attempt` counts from 0: later ones
 *  have longer sequences and end in other ids, for graphs that want at least so much or look for
 *  an end of the text. False past the last attempt. */
bool tb_made_up(tb_sample *out, const tb_subject *subject, int attempt, tiba_status *status,
                tiba_error *error);

/** What the graph was bound with for an input; NULL: it was not bound, or without this input. */
const tiba_tensor *tb_inspection_fed(const tb_inspection *inspection, const char *input);

/** For people, to standard output. */
void tb_inspect_text(const tb_inspection *inspection);
/** Every rewrite with the names of the file's nodes, a line for each. */
void tb_inspect_rewrites(const tiba_run *run);

struct tb_json_writer;
/** For programs: the members of an object that is open. */
void tb_inspect_json(struct tb_json_writer *writer, const tb_inspection *inspection);

/** Is this the first of the run's rewrites of its kind and name? *count: how many there are. */
bool tb_first_rewrite(const tiba_run *run, int index, int *count);

#endif
