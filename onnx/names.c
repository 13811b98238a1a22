#include "onnx/names.h"

#include <string.h>

struct tb_name_slot {
    uint64_t hash;
    const char *name; /* NULL: free */
    int number;
};

static uint64_t mix(uint64_t x) {
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93ULL;
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93ULL;
    return x ^ x >> 32;
}

static uint64_t hash_name(const tb_names *names, const char *name) {
    uint64_t key = mix((uint64_t)(uintptr_t)names->arena), hash = key;
    size_t left = strlen(name);
    for (uint64_t word; left > 0;) {
        size_t n = left < sizeof word ? left : sizeof word;
        word = 0;
        memcpy(&word, name, n);
        hash = mix(hash ^ word) + key;
        name += n;
        left -= n;
    }
    return hash;
}

static size_t find_slot(const struct tb_name_slot *slots, size_t capacity, uint64_t hash,
                        const char *name) {
    size_t i = (size_t)hash & (capacity - 1);
    while (slots[i].name && (slots[i].hash != hash || strcmp(slots[i].name, name) != 0))
        i = (i + 1) & (capacity - 1);
    return i;
}

int tb_names_find(const tb_names *names, const char *name) {
    if (names->count == 0) return -1;
    size_t i = find_slot(names->slots, names->capacity, hash_name(names, name), name);
    return names->slots[i].name ? names->slots[i].number : -1;
}

static bool grow(tb_names *names) {
    size_t capacity = names->capacity ? names->capacity * 2 : 16;
    struct tb_name_slot *slots = TB_NEW(names->arena, struct tb_name_slot, capacity);
    if (!slots) return false;
    for (size_t i = 0; i < names->capacity; i++) {
        const struct tb_name_slot *old = &names->slots[i];
        if (old->name) slots[find_slot(slots, capacity, old->hash, old->name)] = *old;
    }
    names->slots = slots;
    names->capacity = capacity;
    return true;
}

bool tb_names_add(tb_names *names, const char *name, int number) {
    if (2 * (names->count + 1) > names->capacity && !grow(names)) return false;
    uint64_t hash = hash_name(names, name);
    size_t i = find_slot(names->slots, names->capacity, hash, name);
    names->slots[i] = (struct tb_name_slot){hash, name, number};
    names->count++;
    return true;
}
