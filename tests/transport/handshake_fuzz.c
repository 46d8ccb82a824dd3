/*
 * SPDX-License-Identifier: Apache-2.0
 * Whatever a stranger sends, the handshake ends without OK, and the readers of ids, addresses and
 * messages take any bytes.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "transport/control_wire.h"
#include "transport/handshake.h"
#include "transport/meeting.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void shake(enum weft_handshake_role role, const uint8_t *data, size_t bytes)
{
    static const unsigned char secret[32] = "unknown to the fuzzer";
    struct weft_handshake handshake;
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) != 0)
        return;
    if (weft_handshake_init(&handshake, role, secret, "fuzz", NULL) != WEFT_OK)
        abort();
    size_t half = bytes / 2;
    if (write(ends[1], data, half) != (ssize_t)half)
        abort();
    weft_status status = weft_handshake_progress(&handshake, ends[0], NULL);
    if (status == WEFT_IN_PROGRESS && write(ends[1], data + half, bytes - half) >= 0)
        status = weft_handshake_progress(&handshake, ends[0], NULL);
    shutdown(ends[1], SHUT_WR);
    if (status == WEFT_IN_PROGRESS)
        status = weft_handshake_progress(&handshake, ends[0], NULL);
    if (status != WEFT_REMOTE && status != WEFT_PERMISSION)
        abort();
    close(ends[0]);
    close(ends[1]);
}

static void read_all(const uint8_t *data, size_t bytes)
{
    struct weft_meeting_register registration;
    struct weft_meeting_welcome welcome;
    struct weft_meeting_failed failed;
    struct weft_control_message message;
    struct weft_control_address address;
    struct weft_id_contents contents;
    struct weft_error error;
    unsigned char block[WEFT_UNIQUE_ID_BYTES] = {0};
    weft_unique_id id;
    unsigned char again[WEFT_CONTROL_MESSAGE_LIMIT];
    int accepted = 0;
    accepted += weft_meeting_read_register(data, bytes, &registration, &error) == WEFT_OK;
    accepted += weft_meeting_read_welcome(data, bytes, &welcome, &error) == WEFT_OK;
    accepted += weft_meeting_read_failed(data, bytes, &failed, &error) == WEFT_OK;
    memcpy(block, data, bytes < sizeof block ? bytes : sizeof block);
    memcpy(&id, block, sizeof id);
    accepted += weft_id_unpack(&id, &contents, &error) == WEFT_OK;
    accepted += weft_control_read_address(block, &address, &error) == WEFT_OK;
    if (weft_control_read(data, bytes, 8, &message, &error) == WEFT_OK &&
        weft_control_write(&message, again) != bytes)
        abort();
    (void)accepted;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    shake(WEFT_HANDSHAKE_CLIENT, data, bytes);
    shake(WEFT_HANDSHAKE_SERVER, data, bytes);
    read_all(data, bytes);
    return 0;
}
