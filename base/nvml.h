/*
 * SPDX-License-Identifier: Apache-2.0
 * NVIDIA's management library, reached by dlopen: one struct of function pointers, and the few
 * types and numbers of its binary interface that Weft uses, written down here because distributions
 * do not ship the header. Tests fill the same struct with a scripted machine.
 *
 * Whatever comes back is to be read as hostile: strings may lack their end, counts may be absurd.
 */
#ifndef WEFT_BASE_NVML_H
#define WEFT_BASE_NVML_H

#include "base/error.h"

enum weft_nvml_status {
    WEFT_NVML_OK = 0,
    WEFT_NVML_INVALID_ARGUMENT = 2,
    WEFT_NVML_NOT_SUPPORTED = 3,
    WEFT_NVML_NO_PERMISSION = 4,
    WEFT_NVML_NOT_FOUND = 6,
    WEFT_NVML_DRIVER_NOT_LOADED = 9,
    WEFT_NVML_TIMEOUT = 10,
    WEFT_NVML_GPU_IS_LOST = 15,
    WEFT_NVML_RESET_REQUIRED = 16,
    WEFT_NVML_VERSION_MISMATCH = 18, // library and driver
    WEFT_NVML_ARGUMENT_VERSION_MISMATCH = 25,
    WEFT_NVML_GPU_NOT_FOUND = 28,
    WEFT_NVML_UNKNOWN = 999,
};

enum weft_nvml_remote { // what a link leads to
    WEFT_NVML_REMOTE_GPU = 0,
    WEFT_NVML_REMOTE_CPU = 1, // POWER9 and its like
    WEFT_NVML_REMOTE_SWITCH = 2,
    WEFT_NVML_REMOTE_UNKNOWN = 0xff,
};

enum weft_nvml_field_id {
    WEFT_NVML_FIELD_NVLINK_COUNT = 91,
    WEFT_NVML_FIELD_NVLINK_SPEED = 164, // scope: the link; MB/s, overhead included
    WEFT_NVML_FIELD_C2C_COUNT = 170,
    WEFT_NVML_FIELD_C2C_STATUS = 171,    // scope: the link
    WEFT_NVML_FIELD_C2C_BANDWIDTH = 172, // scope: the link; MB/s
};

enum weft_nvml_value_type {
    WEFT_NVML_DOUBLE,
    WEFT_NVML_UNSIGNED_INT,
    WEFT_NVML_UNSIGNED_LONG,
    WEFT_NVML_UNSIGNED_LONG_LONG,
    WEFT_NVML_SIGNED_LONG_LONG,
    WEFT_NVML_SIGNED_INT,
    WEFT_NVML_UNSIGNED_SHORT,
};

enum {
    WEFT_NVML_FABRIC_COMPLETED = 3,
    WEFT_NVML_UUID_BYTES = 96,
    WEFT_NVML_NAME_BYTES = 96,
    WEFT_NVML_VERSION_BYTES = 80,
    WEFT_NVML_CLUSTER_BYTES = 16,
};

struct weft_nvml_device; // the library's handle of a GPU or MIG instance

struct weft_nvml_pci { // third version
    char legacy_address[16];
    unsigned domain, bus, device;
    unsigned pci_id; // device, then vendor
    unsigned subsystem_id;
    char address[32];
};

struct weft_nvml_memory {
    unsigned long long total, free, used;
};

struct weft_nvml_field {
    unsigned field_id, scope_id;
    long long timestamp, latency_us;
    int value_type, status;
    union {
        double real;
        unsigned unsigned_int;
        unsigned long unsigned_long;
        unsigned long long unsigned_long_long;
        long long signed_long_long;
        int signed_int;
        unsigned short unsigned_short;
    } value;
};

/* The third version of the versioned form; older libraries want the second, which ends before
 * health_summary, with their own version number. */
struct weft_nvml_fabric {
    unsigned version;
    unsigned char cluster[WEFT_NVML_CLUSTER_BYTES];
    int status;
    unsigned clique;
    unsigned char state;
    unsigned health_mask;
    unsigned char health_summary;
};
#define WEFT_NVML_FABRIC_VERSION_2 0x02000024u
#define WEFT_NVML_FABRIC_VERSION_3 0x03000028u

struct weft_nvml_fabric_unversioned {
    unsigned char cluster[WEFT_NVML_CLUSTER_BYTES];
    int status;
    unsigned clique;
    unsigned char state;
};

/* All return an enum weft_nvml_status. Those after `optional` may be NULL: older libraries lack
 * them. Any of them may block for as long as a sick driver likes. */
struct weft_nvml {
    void *library; // of weft_nvml_open

    int (*init)(void);
    int (*shutdown)(void);
    int (*device_count)(unsigned *count);
    int (*device_by_index)(unsigned index, struct weft_nvml_device **device);
    int (*device_pci)(struct weft_nvml_device *device, struct weft_nvml_pci *pci);

    /* optional */
    int (*driver_version)(char *text, unsigned bytes);
    int (*device_name)(struct weft_nvml_device *device, char *text, unsigned bytes);
    int (*device_uuid)(struct weft_nvml_device *device, char *text, unsigned bytes);
    int (*device_memory)(struct weft_nvml_device *device, struct weft_nvml_memory *memory);
    int (*power_usage)(struct weft_nvml_device *device, unsigned *milliwatts);
    int (*power_limit)(struct weft_nvml_device *device, unsigned *milliwatts);
    int (*power_default_limit)(struct weft_nvml_device *device, unsigned *milliwatts);
    int (*total_energy)(struct weft_nvml_device *device, unsigned long long *millijoules);
    int (*pcie_generation_max)(struct weft_nvml_device *device, unsigned *generation);
    int (*pcie_generation)(struct weft_nvml_device *device, unsigned *generation);
    int (*pcie_width_max)(struct weft_nvml_device *device, unsigned *lanes);
    int (*pcie_width)(struct weft_nvml_device *device, unsigned *lanes);
    int (*nvlink_state)(struct weft_nvml_device *device, unsigned link, unsigned *is_active);
    int (*nvlink_version)(struct weft_nvml_device *device, unsigned link, unsigned *version);
    int (*nvlink_remote_pci)(struct weft_nvml_device *device, unsigned link,
                             struct weft_nvml_pci *pci);
    int (*nvlink_remote_type)(struct weft_nvml_device *device, unsigned link, int *type);
    int (*field_values)(struct weft_nvml_device *device, int count, struct weft_nvml_field *fields);
    int (*mig_mode)(struct weft_nvml_device *device, unsigned *current, unsigned *pending);
    int (*mig_max)(struct weft_nvml_device *device, unsigned *count);
    int (*mig_by_index)(struct weft_nvml_device *device, unsigned index,
                        struct weft_nvml_device **instance);
    int (*fabric)(struct weft_nvml_device *device, struct weft_nvml_fabric *fabric);
    int (*fabric_unversioned)(struct weft_nvml_device *device,
                              struct weft_nvml_fabric_unversioned *fabric);
};

/* Opens the library and fills *nvml; touches no driver and does not block. UNSUPPORTED with the
 * reason in `error` when it is absent or lacks a function that must be there. `file` NULL: the
 * driver's usual name. */
weft_status weft_nvml_open(const char *file, struct weft_nvml *nvml, struct weft_error *error);
/* Unloads it and clears *nvml; one that was never opened is allowed. */
void weft_nvml_close(struct weft_nvml *nvml);

/* What a status means, in a few words. Static. */
const char *weft_nvml_status_text(int status);

#endif
