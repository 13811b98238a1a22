/*
 * commands.h: the program's commands. Each gets its own arguments (argv[0] is the command's name)
 * and returns the exit status.
 */
#ifndef TB_TOOLS_COMMANDS_H
#define TB_TOOLS_COMMANDS_H

int tb_cmd_batch(int argc, char **argv);
int tb_cmd_compare(int argc, char **argv);
int tb_cmd_eval(int argc, char **argv);
int tb_cmd_explain(int argc, char **argv);
int tb_cmd_inspect(int argc, char **argv);
int tb_cmd_ops(int argc, char **argv);
int tb_cmd_preprocess(int argc, char **argv);
int tb_cmd_tokenize(int argc, char **argv);

#endif
