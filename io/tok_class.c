/* tok_class.c: see tok_class.h. */
#include "io/tok_class.h"

#include <string.h>

const char *const tb_special_names[TB_SPECIAL_COUNT] = {
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"};

#define BERT_TOKENS                                                                                \
    { NULL, NULL, "[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]" }
#define ROBERTA_TOKENS                                                                             \
    { "<s>", "</s>", "<unk>", "</s>", "<pad>", "<s>", "<mask>" }
#define GPT2_TOKENS                                                                                \
    { "<|endoftext|>", "<|endoftext|>", "<|endoftext|>", NULL, NULL, NULL, NULL }
#define ALBERT_TOKENS                                                                              \
    { "[CLS]", "[SEP]", "<unk>", "[SEP]", "<pad>", "[CLS]", "[MASK]" }
#define DEBERTA_TOKENS                                                                             \
    { "[CLS]", "[SEP]", "[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]" }
#define BERT_ROW(class)                                                                            \
    { .name = class, .tokens = BERT_TOKENS, .override = TB_OVERRIDE_BERT, .files = TB_FILES_BERT }

static const tb_class classes[] = {
    {.name = "PreTrainedTokenizer"},
    {.name = "TokenizersBackend"},
    BERT_ROW("BertTokenizer"),
    BERT_ROW("DistilBertTokenizer"),
    BERT_ROW("ElectraTokenizer"),
    BERT_ROW("MobileBertTokenizer"),
    BERT_ROW("SqueezeBertTokenizer"),
    BERT_ROW("ConvBertTokenizer"),
    BERT_ROW("LayoutLMTokenizer"),
    BERT_ROW("LxmertTokenizer"),
    BERT_ROW("DPRQuestionEncoderTokenizer"),
    BERT_ROW("DPRContextEncoderTokenizer"),
    {.name = "FunnelTokenizer",
     .tokens = {"<s>", "</s>", "<unk>", "<sep>", "<pad>", "<cls>", "<mask>"},
     .override = TB_OVERRIDE_BERT},
    {.name = "MPNetTokenizer",
     .tokens = {"<s>", "</s>", "[UNK]", "</s>", "<pad>", "<s>", "<mask>"},
     .override = TB_OVERRIDE_MPNET,
     .files = TB_FILES_MPNET,
     .mask = TB_MASK_LSTRIP},
    {.name = "RobertaTokenizer",
     .tokens = ROBERTA_TOKENS,
     .override = TB_OVERRIDE_ROBERTA,
     .files = TB_FILES_ROBERTA,
     .mask = TB_MASK_LSTRIP_RAW},
    {.name = "LongformerTokenizer",
     .tokens = ROBERTA_TOKENS,
     .override = TB_OVERRIDE_ROBERTA,
     .files = TB_FILES_ROBERTA,
     .mask = TB_MASK_LSTRIP},
    {.name = "BartTokenizer",
     .tokens = ROBERTA_TOKENS,
     .override = TB_OVERRIDE_ROBERTA,
     .files = TB_FILES_ROBERTA,
     .mask = TB_MASK_LSTRIP},
    {.name = "XLMRobertaTokenizer", .tokens = ROBERTA_TOKENS, .mask = TB_MASK_LSTRIP},
    {.name = "CamembertTokenizer", .tokens = ROBERTA_TOKENS, .mask = TB_MASK_LSTRIP},
    {.name = "AlbertTokenizer", .tokens = ALBERT_TOKENS, .mask = TB_MASK_LSTRIP_RAW},
    {.name = "DebertaV2Tokenizer", .tokens = DEBERTA_TOKENS},
    {.name = "DebertaTokenizer", .tokens = DEBERTA_TOKENS, .files = TB_FILES_DEBERTA},
    {.name = "GPT2Tokenizer", .tokens = GPT2_TOKENS, .files = TB_FILES_GPT2},
    {.name = "CodeGenTokenizer", .tokens = GPT2_TOKENS, .files = TB_FILES_GPT2},
    {.name = "GPTNeoXTokenizer", .tokens = GPT2_TOKENS, .override = TB_OVERRIDE_BOS_EOS},
    {.name = "BloomTokenizer",
     .tokens = {"<s>", "</s>", "<unk>", NULL, "<pad>", NULL, NULL},
     .pad_left = true,
     .prefix_space_everywhere = true},
    {.name = "CohereTokenizer",
     .tokens = {"<BOS_TOKEN>", "<|END_OF_TURN_TOKEN|>", "<UNK>", NULL, NULL, NULL, NULL},
     .override = TB_OVERRIDE_BOS_EOS,
     .pad_left = true,
     .add_bos = true,
     .prefix_space_everywhere = true},
    {.name = "CLIPTokenizer",
     .tokens = {"<|startoftext|>", "<|endoftext|>", "<|endoftext|>", NULL, "<|endoftext|>", NULL,
                NULL},
     .files = TB_FILES_CLIP},
    {.name = "T5Tokenizer",
     .tokens = {NULL, "</s>", "<unk>", NULL, "<pad>", NULL, NULL},
     .extra_ids = true,
     .from_slow = true},
    {.name = "LlamaTokenizer",
     .tokens = {"<s>", "</s>", "<unk>", NULL, NULL, NULL, NULL},
     .override = TB_OVERRIDE_BOS_EOS,
     .pad_left = true,
     .add_bos = true,
     .from_slow = true},
    {.name = "GemmaTokenizer",
     .tokens = {"<bos>", "<eos>", "<unk>", NULL, "<pad>", NULL, NULL},
     .override = TB_OVERRIDE_BOS_EOS,
     .pad_left = true,
     .add_bos = true},
    {.name = "Qwen2Tokenizer",
     .tokens = {NULL, "<|endoftext|>", "<|endoftext|>", NULL, "<|endoftext|>", NULL, NULL},
     .files = TB_FILES_QWEN2},
    {.name = "XLNetTokenizer",
     .tokens = {"<s>", "</s>", "<unk>", "<sep>", "<pad>", "<cls>", "<mask>"},
     .mask = TB_MASK_LSTRIP,
     .pad_left = true},
    {.name = "BigBirdTokenizer",
     .tokens = {"<s>", "</s>", "<unk>", "[SEP]", "<pad>", "[CLS]", "[MASK]"},
     .mask = TB_MASK_LSTRIP},
    {.name = "OpenAIGPTTokenizer", .tokens = {NULL, NULL, "<unk>", NULL, NULL, NULL, NULL}},
};

static const struct {
    const char *model, *class;
} models[] = {
    {"albert", "AlbertTokenizer"},
    {"bart", "BartTokenizer"},
    {"bert", "BertTokenizer"},
    {"big_bird", "BigBirdTokenizer"},
    {"blip", "BertTokenizer"},
    {"bloom", "BloomTokenizer"},
    {"bridgetower", "RobertaTokenizer"},
    {"camembert", "CamembertTokenizer"},
    {"chinese_clip", "BertTokenizer"},
    {"clip", "CLIPTokenizer"},
    {"clipseg", "CLIPTokenizer"},
    {"codegen", "CodeGenTokenizer"},
    {"convbert", "ConvBertTokenizer"},
    {"data2vec-text", "RobertaTokenizer"},
    {"deberta", "DebertaTokenizer"},
    {"deberta-v2", "DebertaV2Tokenizer"},
    {"distilbert", "DistilBertTokenizer"},
    {"dpr", "DPRQuestionEncoderTokenizer"},
    {"electra", "ElectraTokenizer"},
    {"ernie", "BertTokenizer"},
    {"funnel", "FunnelTokenizer"},
    {"gemma", "GemmaTokenizer"},
    {"gemma2", "GemmaTokenizer"},
    {"gpt2", "GPT2Tokenizer"},
    {"gpt_neo", "GPT2Tokenizer"},
    {"gpt_neox", "GPTNeoXTokenizer"},
    {"groupvit", "CLIPTokenizer"},
    {"gptj", "GPT2Tokenizer"},
    {"ibert", "RobertaTokenizer"},
    {"layoutlm", "LayoutLMTokenizer"},
    {"llama", "LlamaTokenizer"},
    {"longformer", "LongformerTokenizer"},
    {"lxmert", "LxmertTokenizer"},
    {"megatron-bert", "BertTokenizer"},
    {"mistral", "LlamaTokenizer"},
    {"mobilebert", "MobileBertTokenizer"},
    {"mpnet", "MPNetTokenizer"},
    {"mt5", "T5Tokenizer"},
    {"nezha", "BertTokenizer"},
    {"nystromformer", "AlbertTokenizer"},
    {"openai-gpt", "OpenAIGPTTokenizer"},
    {"opt", "GPT2Tokenizer"},
    {"owlvit", "CLIPTokenizer"},
    {"owlv2", "CLIPTokenizer"},
    {"qdqbert", "BertTokenizer"},
    {"qwen2", "Qwen2Tokenizer"},
    {"qwen3", "Qwen2Tokenizer"},
    {"roberta", "RobertaTokenizer"},
    {"roberta-prelayernorm", "RobertaTokenizer"},
    {"squeezebert", "SqueezeBertTokenizer"},
    {"t5", "T5Tokenizer"},
    {"umt5", "T5Tokenizer"},
    {"vilt", "BertTokenizer"},
    {"visual_bert", "BertTokenizer"},
    {"xlm-roberta", "XLMRobertaTokenizer"},
    {"xlm-roberta-xl", "XLMRobertaTokenizer"},
    {"xlnet", "XLNetTokenizer"},
    {"xmod", "XLMRobertaTokenizer"},
    {"yoso", "AlbertTokenizer"},
};

const tb_class *tb_class_find(const char *name) {
    size_t n = strlen(name);
    if (n > 4 && strcmp(name + n - 4, "Fast") == 0) n -= 4;
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (strlen(classes[i].name) == n && memcmp(classes[i].name, name, n) == 0)
            return &classes[i];
    return NULL;
}

const tb_class *tb_class_of_model(const char *model_type) {
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        if (strcmp(models[i].model, model_type) == 0) return tb_class_find(models[i].class);
    return NULL;
}

const tb_class *tb_class_plain(void) {
    return &classes[0];
}
