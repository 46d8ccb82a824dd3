/*
 * SPDX-License-Identifier: Apache-2.0
 * Any bytes as the file through which the ranks of a job meet: waited out, refused with a sentence,
 * or the very id that is in it. Inputs whose first byte is even change a good file of this
 * living process, so that they come past the check of who wrote it.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "transport/launcher.h"
#include "transport/meeting.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Field 22 of /proc/self/stat: when this process began. */
static unsigned long long own_start(void)
{
    char text[1024];
    FILE *file = fopen("/proc/self/stat", "r");
    if (!file)
        abort();
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    const char *at = strrchr(text, ')');
    for (int field = 2; at && field < 22; field++)
        at = strchr(at + 1, ' ');
    if (!at)
        abort();
    return strtoull(at, NULL, 10);
}

static size_t make_text(const uint8_t *data, size_t size, char *text, size_t limit)
{
    if (size > 0 && data[0] % 2 == 0) {
        struct weft_id_contents contents;
        weft_unique_id id;
        memset(&contents, 0, sizeof contents);
        if (weft_endpoint_parse("127.0.0.1", 4321, &contents.endpoint, NULL) != WEFT_OK)
            abort();
        weft_id_pack(&contents, &id);
        for (size_t i = 0; i + 1 < size && i < sizeof id.bytes; i++)
            id.bytes[i] = (char)(id.bytes[i] ^ data[i + 1]);
        weft_unique_id_to_hex(&id, text);
        int used = (int)strlen(text);
        used +=
            snprintf(text + used, limit - (size_t)used, " %ld %llu\n", (long)getpid(), own_start());
        if (data[0] & 2 && size > 2)
            text[data[1] % used] = (char)data[2];
        return (size_t)used;
    }
    size_t bytes = size < limit ? size : limit;
    memcpy(text, data, bytes);
    return bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[256], text[1024];
    struct weft_launcher_info info = {
        .source = "fuzz", .rank = 1, .num_ranks = 2, .meeting = WEFT_LAUNCHER_FILE};
    struct weft_config config = {.bootstrap_address = "127.0.0.1"};
    struct weft_rendezvous *rendezvous = NULL;
    struct weft_error error = {0};
    snprintf(info.file, sizeof info.file, "fuzz-%ld", (long)getpid());
    // The deadline has passed: one look, then its verdict.
    if (weft_rendezvous_start(&info, &config, weft_clock_ns(), &rendezvous, &error) != WEFT_OK)
        abort(); // the folder exists from here on
    snprintf(path, sizeof path, "/tmp/weft-%u/%s", (unsigned)geteuid(), info.file);
    size_t bytes = make_text(data, size, text, sizeof text);
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0 || write(file, text, bytes) != (ssize_t)bytes)
        abort();
    close(file);
    weft_unique_id id, untouched;
    char hex[2 * WEFT_UNIQUE_ID_BYTES + 1];
    memset(&id, 0x5a, sizeof id);
    memcpy(&untouched, &id, sizeof id);
    weft_status status = WEFT_IN_PROGRESS;
    int64_t patience = weft_deadline_after(1000000000);
    while (status == WEFT_IN_PROGRESS && weft_clock_ns() < patience)
        status = weft_rendezvous_id(rendezvous, &id, &error);
    if (status == WEFT_OK) {
        weft_unique_id_to_hex(&id, hex);
        if (bytes < sizeof hex || strncasecmp(hex, text, sizeof hex - 1) != 0)
            abort();
    } else if (status == WEFT_IN_PROGRESS || error.status != status || !error.text[0] ||
               memcmp(&id, &untouched, sizeof id) != 0) {
        abort();
    }
    weft_rendezvous_close(&rendezvous);
    unlink(path);
    return 0;
}
