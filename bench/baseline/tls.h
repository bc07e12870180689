/* TLS 1.3 with certificates on both sides, as the daemon's link has it (mutual authentication, no resumption). */
#ifndef TLS_H
#define TLS_H

#include "bench.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

__attribute__((noreturn)) static inline void tls_die(const char *what) {
    char reason[256] = "unknown";
    ERR_error_string_n(ERR_get_error(), reason, sizeof reason);
    die("%s: %s", what, reason);
}

static inline SSL_CTX *tls_context(const SSL_METHOD *method, int count, char **words) {
    SSL_CTX *context = SSL_CTX_new(method);
    const char *authority = option(count, words, "--authority", "");
    if (!context || !SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) ||
        SSL_CTX_use_certificate_chain_file(context, option(count, words, "--certificate", "")) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, option(count, words, "--key", ""), SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_load_verify_locations(context, authority, NULL) != 1)
        tls_die("TLS credentials");
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_num_tickets(context, 0);
    return context;
}

static inline void without_delay(int socket_number) {
    int one = 1;
    setsockopt(socket_number, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}
#endif
