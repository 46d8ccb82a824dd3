/*
 * SPDX-License-Identifier: Apache-2.0
 * See draw.h. The picture is the exporter's; only the colours of its lines are the traffic's.
 */
#include "topology/draw.h"

#include "topology/draw_private.h"

static double seconds(const struct weft_drawing *d, int link)
{
    return (double)d->traffic[link] / (double)weft_link_bandwidth(&d->topology->links[link]).value;
}

int weft_draw_heat(const struct weft_drawing *d, const struct weft_draw_line *line)
{
    double most = 0;
    for (int i = 0; i < line->count; i++) {
        double here = seconds(d, d->line_links[line->first + i]);
        most = here > most ? here : most;
    }
    double share = d->peak > 0 ? most / d->peak : 0;
    return most <= 0 ? 0 : share < 0.25 ? 1 : share < 0.6 ? 2 : share < 0.95 ? 3 : 4;
}

weft_status weft_topology_draw_traffic(const struct weft_topology *topology, const int64_t *bytes,
                                       const char *caption, FILE *stream, struct weft_error *error)
{
    struct weft_drawing drawing;
    WEFT_TRY(weft_drawing_make(topology, &drawing, error));
    drawing.traffic = bytes;
    for (int i = 0; i < topology->num_links; i++) {
        double here = seconds(&drawing, i);
        drawing.peak = here > drawing.peak ? here : drawing.peak;
    }
    drawing.height += 22;
    weft_draw_add_caption(&drawing, 16, drawing.height - 6, false, "%s", caption);
    weft_draw_svg(&drawing, stream, true);
    weft_drawing_free(&drawing);
    return WEFT_OK;
}
