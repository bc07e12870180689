/* Classes of ASCII characters (RFC 3261 section 25.1); octets over 127 are in none. */
#ifndef MEDIATION_ASCII_H
#define MEDIATION_ASCII_H

#define ASCII_TOKEN 1 /* alphanum - . ! % * _ + ` ' ~ */
#define ASCII_HOST 2  /* alphanum - . and _, which real names have */
#define ASCII_BLANK 4 /* SP HT CR LF */
#define ASCII_DIGIT 8

static const unsigned char ascii_class[256] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 4, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    4, 1, 0, 0, 0, 1, 0, 1, 0, 0, 1, 1, 0, 3, 3, 0, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 0, 0, 0, 0, 0, 0,
    0, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 0, 0, 0, 0, 3,
    1, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 0, 0, 0, 1, 0,
};

#endif
