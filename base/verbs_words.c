/*
 * SPDX-License-Identifier: Apache-2.0
 * See verbs_words.h. Tables are indexed by code; codes that are not listed are unknown.
 */
#include "base/verbs_words.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#define WORD_OF(table, code)                                                                       \
    ((code) < sizeof(table) / sizeof *(table) && (table)[code] ? (table)[code] : "unknown")

const char *weft_port_state_name(unsigned state)
{
    static const char *const names[] = {"none",  "down",   "initializing",
                                        "armed", "active", "active (deferred)"};
    return WORD_OF(names, state);
}

const char *weft_port_physical_state_name(unsigned state)
{
    static const char *const names[] = {"unknown",  "sleeping", "polling",  "disabled",
                                        "training", "up",       "recovery", "testing"};
    return WORD_OF(names, state);
}

const char *weft_qp_state_name(unsigned state)
{
    static const char *const names[] = {
        [IBV_QPS_RESET] = "reset",
        [IBV_QPS_INIT] = "initialized",
        [IBV_QPS_RTR] = "ready to receive",
        [IBV_QPS_RTS] = "ready to send",
        [IBV_QPS_SQD] = "send queue drained",
        [IBV_QPS_SQE] = "send queue in error",
        [IBV_QPS_ERR] = "error",
        [IBV_QPS_UNKNOWN] = "unknown",
    };
    return WORD_OF(names, state);
}

const char *weft_wc_status_name(unsigned status)
{
    static const char *const names[] = {
        [IBV_WC_SUCCESS] = "success",
        [IBV_WC_LOC_LEN_ERR] = "a message is longer than the room for it",
        [IBV_WC_LOC_QP_OP_ERR] = "the queue pair could not carry out a request",
        [IBV_WC_LOC_EEC_OP_ERR] = "the end-to-end context could not carry out a request",
        [IBV_WC_LOC_PROT_ERR] = "memory of this process is not registered for this",
        [IBV_WC_WR_FLUSH_ERR] = "flushed: the queue pair had failed before",
        [IBV_WC_MW_BIND_ERR] = "a memory window could not be bound",
        [IBV_WC_BAD_RESP_ERR] = "the peer gave an answer that makes no sense",
        [IBV_WC_LOC_ACCESS_ERR] = "arriving data may not be written where it belongs",
        [IBV_WC_REM_INV_REQ_ERR] = "the peer refused a request as invalid",
        [IBV_WC_REM_ACCESS_ERR] = "the peer's memory is not registered for this (bad key or range)",
        [IBV_WC_REM_OP_ERR] = "the peer could not carry out a request",
        [IBV_WC_RETRY_EXC_ERR] = "the peer does not answer (retries exceeded)",
        [IBV_WC_RNR_RETRY_EXC_ERR] = "the peer had no receive posted (RNR retries exceeded)",
        [IBV_WC_LOC_RDD_VIOL_ERR] = "the reliable datagram domain is another one",
        [IBV_WC_REM_INV_RD_REQ_ERR] = "the peer refused a reliable datagram",
        [IBV_WC_REM_ABORT_ERR] = "the peer aborted the request",
        [IBV_WC_INV_EECN_ERR] = "the end-to-end context does not exist",
        [IBV_WC_INV_EEC_STATE_ERR] = "the end-to-end context is in the wrong state",
        [IBV_WC_FATAL_ERR] = "the device has failed",
        [IBV_WC_RESP_TIMEOUT_ERR] = "the peer took too long to answer",
        [IBV_WC_GENERAL_ERR] = "the transport failed",
        [IBV_WC_TM_ERR] = "tag matching failed",
        [IBV_WC_TM_RNDV_INCOMPLETE] = "a tag matching rendezvous is incomplete",
    };
    return WORD_OF(names, status);
}

const char *weft_async_event_name(unsigned event)
{
    static const char *const names[] = {
        [IBV_EVENT_CQ_ERR] = "a completion queue has overflowed",
        [IBV_EVENT_QP_FATAL] = "a queue pair has failed",
        [IBV_EVENT_QP_REQ_ERR] = "a queue pair got an invalid request",
        [IBV_EVENT_QP_ACCESS_ERR] = "a queue pair got a request for memory it may not use",
        [IBV_EVENT_COMM_EST] = "a queue pair got its first message",
        [IBV_EVENT_SQ_DRAINED] = "a send queue is drained",
        [IBV_EVENT_PATH_MIG] = "a queue pair has moved to its other path",
        [IBV_EVENT_PATH_MIG_ERR] = "a queue pair could not move to its other path",
        [IBV_EVENT_DEVICE_FATAL] = "the device has failed",
        [IBV_EVENT_PORT_ACTIVE] = "the port is up",
        [IBV_EVENT_PORT_ERR] = "the port is down",
        [IBV_EVENT_LID_CHANGE] = "the port's LID has changed",
        [IBV_EVENT_PKEY_CHANGE] = "the port's partitions have changed",
        [IBV_EVENT_SM_CHANGE] = "the subnet manager has changed",
        [IBV_EVENT_SRQ_ERR] = "a shared receive queue has failed",
        [IBV_EVENT_SRQ_LIMIT_REACHED] = "a shared receive queue runs low",
        [IBV_EVENT_QP_LAST_WQE_REACHED] = "a queue pair has used its last receive",
        [IBV_EVENT_CLIENT_REREGISTER] = "the subnet manager asks for registration anew",
        [IBV_EVENT_GID_CHANGE] = "the port's addresses have changed",
        [IBV_EVENT_WQ_FATAL] = "a work queue has failed",
    };
    return WORD_OF(names, event);
}

const char *weft_verbs_errno_name(int failure)
{
    if (failure == EAGAIN) // of the kernel's rdma controller
        return "Resource temporarily unavailable (raise rdma.max of this cgroup)";
    if (failure == ENOMEM)
        return "Cannot allocate memory (the device has no more, or raise ulimit -l)";
    return strerror(failure);
}

int weft_mtu_bytes(unsigned code)
{
    return code >= IBV_MTU_256 && code <= IBV_MTU_4096 ? 128 << code : 0;
}
