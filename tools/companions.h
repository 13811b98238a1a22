/*
 * companions.h: the folder that holds what exporters leave beside a model: labels, preprocessing,
 * tokenizer.
 */
#ifndef TB_TOOLS_COMPANIONS_H
#define TB_TOOLS_COMPANIONS_H

#include "base/memory.h"

/**
 * The folder of the companions of `path`, a model's folder or file: the folder itself, the file's,
 * or the one above it where the file lies in a folder "onnx" that has no companions of its own and
 * the one above has. In the arena; NULL if out of memory.
 */
const char *tb_companions_folder(tb_arena *arena, const char *path);

#endif
