/* spandsp's DTMF receiver as its users take it: 16-bit samples at 8 kHz on standard input, digits on standard output. */
#include <stdint.h>
#include <stdio.h>

#include <spandsp.h>

int main(void)
{
    dtmf_rx_state_t *state = dtmf_rx_init(NULL, NULL, NULL);
    int16_t samples[160];
    char digits[129];
    size_t count;

    if (!state)
        return 1;
    while ((count = fread(samples, sizeof *samples, 160, stdin)) > 0) {
        dtmf_rx(state, samples, (int)count);
        while (dtmf_rx_get(state, digits, 128) > 0)
            fputs(digits, stdout);
    }
    putchar('\n');
    dtmf_rx_free(state);
    return 0;
}
