/*
 * SPDX-License-Identifier: Apache-2.0
 * See pcie.h: rates, lanes and what they carry.
 */
#include "topology/pcie.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Of generations 1 to 8, in MT/s. */
static const int64_t rates[] = {2500, 5000, 8000, 16000, 32000, 64000, 128000, 256000};
enum { NUM_RATES = sizeof rates / sizeof rates[0] };

static const char *skip_blanks(const char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    return text;
}

/* A decimal number with at most three digits after the point, in thousandths; NULL: there is none.
 */
static const char *read_thousandths(const char *text, int64_t *value)
{
    int64_t sum = 0;
    int digits = 0;
    for (; isdigit((unsigned char)*text); text++, digits++) {
        if (digits > 6)
            return NULL;
        sum = sum * 10 + (*text - '0');
    }
    if (digits == 0)
        return NULL;
    int64_t scale = 1000;
    sum *= scale;
    if (*text == '.')
        for (text++; isdigit((unsigned char)*text); text++) {
            scale /= 10;
            sum += scale * (*text - '0');
        }
    *value = sum;
    return text;
}

int64_t weft_pcie_rate_of_generation(int64_t generation)
{
    return generation < 1 || generation > NUM_RATES ? -1 : rates[generation - 1];
}

int64_t weft_pcie_rate(const char *speed)
{
    int64_t value;
    const char *at = skip_blanks(speed ? speed : "");
    if (strncasecmp(at, "PCIe", 4) == 0)
        at = skip_blanks(at + 4);
    if (strncasecmp(at, "gen", 3) == 0) {
        at = read_thousandths(skip_blanks(at + 3), &value);
        bool is_whole = at && value % 1000 == 0 && !*skip_blanks(at);
        return is_whole ? weft_pcie_rate_of_generation(value / 1000) : -1;
    }
    at = read_thousandths(at, &value);
    if (!at)
        return -1;
    at = skip_blanks(at);
    if (*at && strncasecmp(at, "GT/s", 4) != 0)
        return -1;
    for (int i = 0; i < NUM_RATES; i++)
        if (rates[i] == value)
            return value;
    return -1;
}

int64_t weft_pcie_lanes(const char *width)
{
    char *end;
    const char *at = skip_blanks(width ? width : "");
    if (*at == 'x' || *at == 'X')
        at++;
    if (!isdigit((unsigned char)*at))
        return -1;
    long lanes = strtol(at, &end, 10);
    return *skip_blanks(end) || lanes < 1 || lanes > 32 ? -1 : lanes;
}

int64_t weft_pcie_payload(int64_t rate, int64_t lanes)
{
    if (rate < 1 || rate > 1000000 || lanes < 1 || lanes > 32)
        return -1;
    // what the encoding leaves: 8 of 10 bits, 128 of 130, 242 of the 256 bytes of a flit
    int64_t part = rate <= 5000 ? 8 : rate <= 32000 ? 128 : 242;
    int64_t whole = rate <= 5000 ? 10 : rate <= 32000 ? 130 : 256;
    return (rate * 1000000 / 8 * lanes * part / whole + 500) / 1000 * 1000;
}

int64_t weft_pcie_bandwidth(const char *speed, int64_t lanes)
{
    return weft_pcie_payload(weft_pcie_rate(speed), lanes);
}

int weft_pcie_redirects(const struct weft_sysfs *files, const char *prefix, const char *address)
{
    enum { ACS = 0x0d, CONTROL = 6, HEADER_BYTES = 0x100, MAX_STEPS = 64 };
    enum { REQUESTS = 0x04, COMPLETIONS = 0x08, EGRESS = 0x20 }; // as Linux judges it
    unsigned char config[4096];
    size_t bytes = weft_sysfs_bytes(files, config, sizeof config, "%sbus/pci/devices/%.20s/config",
                                    prefix, address);
    if (bytes <= HEADER_BYTES)
        return -1;
    // the list of extended capabilities
    size_t at = HEADER_BYTES;
    for (int i = 0; i < MAX_STEPS && at >= HEADER_BYTES && at + CONTROL + 2 <= bytes; i++) {
        unsigned id = config[at] | (unsigned)config[at + 1] << 8;
        if (id == ACS)
            return (config[at + CONTROL] & (REQUESTS | COMPLETIONS | EGRESS)) != 0;
        at = (config[at + 2] >> 4 | (size_t)config[at + 3] << 4) & ~(size_t)3;
    }
    return 0;
}
