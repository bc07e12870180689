/* The least that any function could do with an order before it is armed: three Ed25519 verifications over texts of the
 * size of an order's, and the hashes of one inclusion proof. No parsing, no table, no answer.
 *
 *   activation --orders N --octets N --path N     prints {"orders", "wall_ns"}
 */
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SIGNATURES 3

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int main(int argc, char **argv)
{
    long orders = 1000, octets = 1200, path = 17;
    unsigned char signature[64], node[65] = {1}, digest[32] = {0};
    size_t length = sizeof signature;
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    EVP_MD_CTX *context = EVP_MD_CTX_new();

    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--orders") == 0)
            orders = atol(argv[i + 1]);
        else if (strcmp(argv[i], "--octets") == 0)
            octets = atol(argv[i + 1]);
        else if (strcmp(argv[i], "--path") == 0)
            path = atol(argv[i + 1]);
    }
    unsigned char *text = calloc(1, (size_t)octets);
    if (key == NULL || context == NULL || text == NULL || EVP_DigestSignInit(context, NULL, NULL, NULL, key) != 1 ||
        EVP_DigestSign(context, signature, &length, text, (size_t)octets) != 1)
        return 1;
    uint64_t began = now_ns();
    for (long order = 0; order < orders; order++) {
        for (int n = 0; n < SIGNATURES; n++) {
            EVP_MD_CTX_reset(context);
            if (EVP_DigestVerifyInit(context, NULL, NULL, NULL, key) != 1 ||
                EVP_DigestVerify(context, signature, length, text, (size_t)octets) != 1)
                return 1;
        }
        for (long n = 0; n < path; n++) {
            memcpy(node + 33, digest, sizeof digest);
            SHA256(node, sizeof node, digest);
        }
    }
    printf("{\"orders\": %ld, \"wall_ns\": %llu}\n", orders, (unsigned long long)(now_ns() - began));
    return 0;
}
