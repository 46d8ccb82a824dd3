/*
 * SPDX-License-Identifier: Apache-2.0
 * See fake_nvml.h.
 */
#include "tests/topology/fake_nvml.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct fake_box *box; // the functions of the table have no context

static struct fake_gpu *gpu_of(struct weft_nvml_device *device)
{
    return (struct fake_gpu *)(void *)device;
}

static int init(void)
{
    return box->init_status;
}

static int shutdown_library(void)
{
    box->num_shutdowns++;
    return 0;
}

static int device_count(unsigned *count)
{
    *count = box->count;
    return box->count_status;
}

static int device_by_index(unsigned index, struct weft_nvml_device **device)
{
    if (index >= box->count || index >= FAKE_MAX_GPUS)
        return WEFT_NVML_INVALID_ARGUMENT;
    *device = (struct weft_nvml_device *)(void *)&box->gpus[index];
    return box->gpus[index].handle_status;
}

static void write_pci(struct weft_nvml_pci *pci, unsigned domain, unsigned bus)
{
    *pci = (struct weft_nvml_pci){.domain = domain, .bus = bus};
    snprintf(pci->address, sizeof pci->address, "%08X:%02X:00.0", domain, bus);
}

static int device_pci(struct weft_nvml_device *device, struct weft_nvml_pci *pci)
{
    write_pci(pci, gpu_of(device)->domain, gpu_of(device)->bus);
    return 0;
}

static int write_text(const struct fake_gpu *gpu, const char *from, char *text, unsigned bytes)
{
    if (gpu->is_unterminated)
        memset(text, 'A', bytes);
    else
        snprintf(text, bytes, "%s", from);
    return gpu->status;
}

static int driver_version(char *text, unsigned bytes)
{
    return write_text(&box->gpus[0], "570.86.15", text, bytes) * 0;
}

static int count_open_files(void)
{
    int count = -1; // the folder's own
    DIR *folder = opendir("/proc/self/fd");
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        count += entry->d_name[0] != '.';
    if (folder)
        closedir(folder);
    return count;
}

static int device_name(struct weft_nvml_device *device, char *text, unsigned bytes)
{
    if (box->hangs && box->stuck) {
        box->stuck[1] = count_open_files();
        box->stuck[0] = getpid();
    }
    while (box->hangs)
        pause();
    if (box->crashes)
        raise(SIGSEGV);
    return write_text(gpu_of(device), gpu_of(device)->name, text, bytes);
}

static int device_uuid(struct weft_nvml_device *device, char *text, unsigned bytes)
{
    return write_text(gpu_of(device), gpu_of(device)->uuid, text, bytes);
}

static int device_memory(struct weft_nvml_device *device, struct weft_nvml_memory *memory)
{
    memory->total = gpu_of(device)->memory;
    return gpu_of(device)->status;
}

#define UNSIGNED_GETTER(function, field)                                                           \
    static int function(struct weft_nvml_device *device, unsigned *value)                          \
    {                                                                                              \
        *value = gpu_of(device)->field;                                                            \
        return gpu_of(device)->status;                                                             \
    }
UNSIGNED_GETTER(power_usage, power)
UNSIGNED_GETTER(power_limit, power_limit)
UNSIGNED_GETTER(pcie_generation, generation)
UNSIGNED_GETTER(pcie_generation_max, generation_max)
UNSIGNED_GETTER(pcie_width, width)
UNSIGNED_GETTER(pcie_width_max, width_max)

static int total_energy(struct weft_nvml_device *device, unsigned long long *millijoules)
{
    *millijoules = gpu_of(device)->energy;
    return gpu_of(device)->status;
}

static int nvlink_state(struct weft_nvml_device *device, unsigned link, unsigned *is_active)
{
    struct fake_gpu *gpu = gpu_of(device);
    if (gpu->dies_at_link > 0 && (int)link >= gpu->dies_at_link)
        gpu->status = WEFT_NVML_GPU_IS_LOST;
    if (gpu->status)
        return gpu->status;
    if ((int)link >= gpu->num_links)
        return WEFT_NVML_INVALID_ARGUMENT;
    *is_active = !gpu->links[link].is_down;
    return 0;
}

static int nvlink_version(struct weft_nvml_device *device, unsigned link, unsigned *version)
{
    (void)link;
    *version = gpu_of(device)->version;
    return gpu_of(device)->status;
}

static int nvlink_remote_pci(struct weft_nvml_device *device, unsigned link,
                             struct weft_nvml_pci *pci)
{
    const struct fake_link *asked = &gpu_of(device)->links[link];
    write_pci(pci, 0, asked->remote_bus);
    if (asked->is_remote_hidden)
        *pci = (struct weft_nvml_pci){.domain = 0xfffffff, .bus = 0xff, .device = 0xff};
    return asked->remote_pci_status;
}

static int nvlink_remote_type(struct weft_nvml_device *device, unsigned link, int *type)
{
    *type = gpu_of(device)->links[link].remote_type;
    return *type < 0 ? WEFT_NVML_NOT_SUPPORTED : 0;
}

static int field_value(const struct fake_gpu *gpu, struct weft_nvml_field *field)
{
    field->value_type = WEFT_NVML_UNSIGNED_INT;
    switch (field->field_id) {
    case WEFT_NVML_FIELD_NVLINK_COUNT:
        field->value_type = WEFT_NVML_UNSIGNED_LONG_LONG;
        field->value.unsigned_long_long = (unsigned long long)gpu->said_links;
        return gpu->said_links < 0 ? WEFT_NVML_NOT_SUPPORTED : 0;
    case WEFT_NVML_FIELD_NVLINK_SPEED:
        field->value.unsigned_int = gpu->mbps;
        return 0;
    case WEFT_NVML_FIELD_C2C_COUNT:
        field->value.unsigned_int = (unsigned)gpu->num_c2c;
        return gpu->num_c2c ? 0 : WEFT_NVML_NOT_SUPPORTED;
    case WEFT_NVML_FIELD_C2C_STATUS:
        field->value.unsigned_int = (int)field->scope_id >= gpu->c2c_down;
        return 0;
    case WEFT_NVML_FIELD_C2C_BANDWIDTH:
        field->value.unsigned_int = gpu->c2c_mbps;
        return 0;
    default:
        return WEFT_NVML_NOT_SUPPORTED;
    }
}

static int field_values(struct weft_nvml_device *device, int count, struct weft_nvml_field *fields)
{
    for (int i = 0; i < count; i++)
        fields[i].status = field_value(gpu_of(device), &fields[i]);
    return gpu_of(device)->status;
}

static int mig_mode(struct weft_nvml_device *device, unsigned *current, unsigned *pending)
{
    const struct fake_gpu *gpu = gpu_of(device);
    *current = *pending = gpu->mig > 0;
    return gpu->mig < 0 ? WEFT_NVML_NOT_SUPPORTED : gpu->status;
}

static int mig_max(struct weft_nvml_device *device, unsigned *count)
{
    *count = gpu_of(device)->num_mig > FAKE_MAX_MIG ? 1000000000 : FAKE_MAX_MIG;
    return 0;
}

static int mig_by_index(struct weft_nvml_device *device, unsigned index,
                        struct weft_nvml_device **instance)
{
    const struct fake_gpu *gpu = gpu_of(device);
    if (index >= FAKE_MAX_MIG || !gpu->mig_instances[index])
        return WEFT_NVML_NOT_FOUND;
    *instance = (struct weft_nvml_device *)(void *)gpu->mig_instances[index];
    return 0;
}

static int fabric(struct weft_nvml_device *device, struct weft_nvml_fabric *to)
{
    if (!gpu_of(device)->has_fabric)
        return WEFT_NVML_NOT_SUPPORTED;
    if (to->version != WEFT_NVML_FABRIC_VERSION_2)
        return WEFT_NVML_ARGUMENT_VERSION_MISMATCH; // a library of the second version
    *to = gpu_of(device)->fabric;
    return gpu_of(device)->status;
}

static int fabric_unversioned(struct weft_nvml_device *device,
                              struct weft_nvml_fabric_unversioned *to)
{
    const struct weft_nvml_fabric *from = &gpu_of(device)->fabric;
    *to = (struct weft_nvml_fabric_unversioned){
        .status = from->status, .clique = from->clique, .state = from->state};
    memcpy(to->cluster, from->cluster, sizeof to->cluster);
    return gpu_of(device)->has_fabric ? gpu_of(device)->status : WEFT_NVML_NOT_SUPPORTED;
}

struct weft_nvml fake_nvml(struct fake_box *used)
{
    box = used;
    struct weft_nvml nvml = {
        .init = init,
        .shutdown = shutdown_library,
        .device_count = device_count,
        .device_by_index = device_by_index,
        .device_pci = device_pci,
        .driver_version = driver_version,
        .device_name = device_name,
        .device_uuid = device_uuid,
        .device_memory = device_memory,
        .power_usage = power_usage,
        .power_limit = power_limit,
        .power_default_limit = power_limit,
        .total_energy = total_energy,
        .pcie_generation_max = pcie_generation_max,
        .pcie_generation = pcie_generation,
        .pcie_width_max = pcie_width_max,
        .pcie_width = pcie_width,
        .nvlink_state = nvlink_state,
        .nvlink_version = nvlink_version,
        .nvlink_remote_pci = nvlink_remote_pci,
        .nvlink_remote_type = nvlink_remote_type,
        .field_values = field_values,
        .mig_mode = mig_mode,
        .mig_max = mig_max,
        .mig_by_index = mig_by_index,
        .fabric = fabric,
        .fabric_unversioned = fabric_unversioned,
    };
    if (box->is_driver_old) {
        nvml.fabric = NULL;
        nvml.nvlink_remote_type = NULL;
    }
    return nvml;
}

/* ---- boxes ---- */

static void usual_gpu(struct fake_gpu *gpu, int index, const char *name)
{
    snprintf(gpu->name, sizeof gpu->name, "%s", name);
    snprintf(gpu->uuid, sizeof gpu->uuid, "GPU-00000000-0000-0000-0000-00000000000%x", index);
    gpu->memory = 80ull << 30;
    gpu->energy = 123456789;
    gpu->power = 71000;
    gpu->power_limit = 700000;
    gpu->generation = gpu->generation_max = 5;
    gpu->width = gpu->width_max = 16;
    gpu->said_links = -1;
}

void fake_h100(struct fake_box *made)
{
    static const int links_of_switch[] = {5, 5, 4, 4};
    *made = (struct fake_box){.count = 8};
    for (int i = 0; i < 8; i++) {
        struct fake_gpu *gpu = &made->gpus[i];
        usual_gpu(gpu, i, "NVIDIA H100 80GB HBM3");
        gpu->bus = 0x10 + (unsigned)i;
        gpu->version = 6;
        gpu->mbps = 26562;
        gpu->num_links = 18;
        for (int s = 0, link = 0; s < 4; s++)
            for (int j = 0; j < links_of_switch[s]; j++, link++) {
                gpu->links[link].remote_type = WEFT_NVML_REMOTE_SWITCH;
                gpu->links[link].remote_bus = 0xc0 + (unsigned)s;
            }
        gpu->has_fabric = true; // and no cluster, as such machines say
        gpu->fabric.state = WEFT_NVML_FABRIC_COMPLETED;
    }
}

void fake_gb200(struct fake_box *made, unsigned char cluster, unsigned clique)
{
    static const unsigned domains[] = {8, 9, 0x18, 0x19};
    *made = (struct fake_box){.count = 4};
    for (int i = 0; i < 4; i++) {
        struct fake_gpu *gpu = &made->gpus[i];
        usual_gpu(gpu, i, "NVIDIA GB200");
        gpu->domain = domains[i];
        gpu->bus = 1;
        gpu->version = 7;
        gpu->mbps = 53125;
        gpu->num_links = 18;
        for (int link = 0; link < 18; link++)
            gpu->links[link] = (struct fake_link){.remote_type = WEFT_NVML_REMOTE_SWITCH,
                                                  .is_remote_hidden = true};
        gpu->num_c2c = 10;
        gpu->c2c_mbps = 44712;
        gpu->has_fabric = true;
        gpu->fabric.state = WEFT_NVML_FABRIC_COMPLETED;
        gpu->fabric.clique = clique;
        memset(gpu->fabric.cluster, cluster, sizeof gpu->fabric.cluster);
    }
}

void fake_pair(struct fake_box *made)
{
    *made = (struct fake_box){.count = 2};
    for (int i = 0; i < 2; i++) {
        struct fake_gpu *gpu = &made->gpus[i];
        usual_gpu(gpu, i, "NVIDIA RTX A6000");
        gpu->bus = 0x10 + (unsigned)i;
        gpu->version = 4;
        gpu->mbps = 14062;
        gpu->num_links = 4;
        for (int link = 0; link < 4; link++)
            gpu->links[link] = (struct fake_link){.remote_type = WEFT_NVML_REMOTE_GPU,
                                                  .remote_bus = 0x10 + (unsigned)!i};
    }
}
