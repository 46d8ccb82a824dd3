/*
 * SPDX-License-Identifier: Apache-2.0
 * Texts, records and plots: hashes, files that are absent, damaged or of another run, and curves
 * whose shape is known.
 */
#include "tests/trainer/compare.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "trainer/plot.h"
#include "trainer/record.h"
#include "trainer/text.h"

static void path_in(const char *name, char path[256])
{
    snprintf(path, 256, "/tmp/weft_trainer_%ld_%s", (long)getpid(), name);
}

static void write_bytes(const char *path, const void *bytes, size_t count)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    assert_int_equal(fclose(file), 0);
}

static void test_text_of_a_file(void **state)
{
    (void)state;
    char path[256], printed[WEFT_TEXT_HASH_CHARS];
    struct weft_text text;
    struct weft_error error;
    path_in("abc", path);
    write_bytes(path, "abc", 3);
    assert_int_equal(weft_text_load(path, &text, &error), WEFT_OK);
    assert_int_equal(text.num_bytes, 3);
    assert_memory_equal(text.bytes, "abc", 3);
    weft_text_hash_print(text.hash, printed);
    // FIPS 180-2, appendix B.1
    static const char expected[] =
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_string_equal(printed, expected);
    assert_int_equal(weft_text_expect(&text, "abc", 3, expected, &error), WEFT_OK);
    assert_int_equal(weft_text_expect(&text, "abc", 4, expected, &error), WEFT_INVALID_FORMAT);
    text.bytes[0] = 'b';
    weft_text_free(&text);
    write_bytes(path, "abd", 3);
    assert_int_equal(weft_text_load(path, &text, &error), WEFT_OK);
    assert_int_equal(weft_text_expect(&text, "abc", 3, expected, &error), WEFT_INVALID_FORMAT);
    assert_non_null(strstr(error.text, expected));
    weft_text_free(&text);
    write_bytes(path, "", 0);
    assert_int_equal(weft_text_load(path, &text, &error), WEFT_INVALID_FORMAT);
    unlink(path);
    assert_int_equal(weft_text_load(path, &text, &error), WEFT_NOT_FOUND);
    assert_non_null(strstr(error.text, path));
}

static void test_text_holds_out_its_end(void **state)
{
    (void)state;
    char path[256], bytes[1000];
    struct weft_text text;
    struct weft_error error;
    path_in("thousand", path);
    memset(bytes, 'x', sizeof bytes);
    write_bytes(path, bytes, sizeof bytes);
    assert_int_equal(weft_text_load(path, &text, &error), WEFT_OK);
    unlink(path);
    assert_int_equal(text.num_train, 950);
    weft_text_free(&text);
}

static void test_licenses(void **state)
{
    (void)state;
    struct weft_text text;
    struct weft_error error;
    if (access("/usr/share/common-licenses/Apache-2.0", R_OK) != 0)
        skip();
    assert_int_equal(weft_text_load("licenses", &text, &error), WEFT_OK);
    // Apache-2.0 is the first name in Debian and Ubuntu; links (GPL -> GPL-3) are not followed.
    struct stat first;
    assert_int_equal(stat("/usr/share/common-licenses/Apache-2.0", &first), 0);
    assert_true(text.num_bytes > (size_t)first.st_size);
    assert_non_null(memmem(text.bytes, (size_t)first.st_size, "Apache License", 14));
    weft_text_free(&text);
}

static void test_kjv(void **state)
{
    (void)state;
    struct weft_text text;
    struct weft_error error;
    weft_status status = weft_text_load("kjv", &text, &error);
    if (status == WEFT_NOT_FOUND) {
        assert_non_null(strstr(error.text, "apt install bible-kjv"));
        print_message("skipped: %s\n", error.text);
        skip();
    }
    if (status == WEFT_INVALID_FORMAT) { // another edition: named, and not trained on
        assert_non_null(strstr(error.text, "not the expected text"));
        print_message("skipped: %s\n", error.text);
        skip();
    }
    assert_int_equal(status, WEFT_OK); // size and hash are checked by the load
    assert_memory_equal(text.bytes, "Ge1:1 In the beginning", 22);
    weft_text_free(&text);
}

static struct weft_record small_record(void)
{
    struct weft_record record = {.config = {1, 2, 3, 4, 5, 6, 7}};
    struct weft_error error;
    for (int i = 0; i < 5; i++)
        assert_int_equal(weft_record_add_loss(&record, 5.0 - i, &error), WEFT_OK);
    record.gradient = malloc(3 * sizeof(float));
    record.gradient[0] = 3;
    record.gradient[1] = 0;
    record.gradient[2] = 4;
    record.num_gradient = 3;
    return record;
}

static void test_record_round_trip_and_damage(void **state)
{
    (void)state;
    char path[256];
    struct weft_record record = small_record(), loaded;
    struct weft_record_difference difference;
    struct weft_error error;
    path_in("record", path);
    assert_int_equal(weft_record_save(&record, path, &error), WEFT_OK);
    assert_int_equal(weft_record_load(path, &loaded, &error), WEFT_OK);
    assert_int_equal(weft_record_compare(&loaded, &record, &difference, &error), WEFT_OK);
    assert_true(difference.gradient == 0 && difference.loss == 0 && difference.num_losses == 5);
    weft_record_free(&loaded);
    // Any byte changed, any byte missing: refused, and nothing is handed out.
    FILE *file = fopen(path, "rb");
    unsigned char image[1024];
    size_t bytes = fread(image, 1, sizeof image, file);
    fclose(file);
    for (size_t i = 0; i < bytes; i++) {
        image[i] ^= 0x10;
        write_bytes(path, image, bytes);
        assert_int_equal(weft_record_load(path, &loaded, &error), WEFT_INVALID_FORMAT);
        image[i] ^= 0x10;
        write_bytes(path, image, i);
        assert_int_equal(weft_record_load(path, &loaded, &error), WEFT_INVALID_FORMAT);
    }
    unlink(path);
    assert_int_equal(weft_record_load(path, &loaded, &error), WEFT_NOT_FOUND);
    assert_int_equal(weft_record_save(&record, "/nonexistent/record", &error), WEFT_SYSTEM);
    weft_record_free(&record);
}

static void test_record_differences(void **state)
{
    (void)state;
    struct weft_record a = small_record(), b = small_record();
    struct weft_record_difference difference;
    struct weft_error error;
    a.gradient[1] = 0.5f; // off by 0.5 on a gradient of length 5
    a.losses[3] *= 1.25;
    assert_int_equal(weft_record_compare(&a, &b, &difference, &error), WEFT_OK);
    assert_true(fabs(difference.gradient - 0.1) < 1e-12);
    assert_true(fabs(difference.loss - 0.25) < 1e-12);
    assert_int_equal(difference.loss_step, 4);
    a.losses[2] = NAN;
    assert_int_equal(weft_record_compare(&a, &b, &difference, &error), WEFT_OK);
    assert_false(difference.loss <= 1e9); // must not pass for small
    a.config[5]++;
    assert_int_equal(weft_record_compare(&a, &b, &difference, &error), WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.text, "seed"));
    a.config[5]--;
    a.text_hash[0]++;
    assert_int_equal(weft_record_compare(&a, &b, &difference, &error), WEFT_INVALID_ARGUMENT);
    a.text_hash[0]--;
    a.num_losses--;
    assert_int_equal(weft_record_compare(&a, &b, &difference, &error), WEFT_INVALID_ARGUMENT);
    weft_record_free(&a);
    weft_record_free(&b);
}

static void test_plot(void **state)
{
    (void)state;
    double x[] = {0, 1, 2, 3}, y[] = {3, 2, NAN, 0};
    struct weft_plot plot = {
        .x = x, .y = y, .count = 4, .columns = 10, .rows = 4, .x_label = "step"};
    char *text;
    struct weft_error error;
    assert_int_equal(weft_plot_draw(&plot, &text, &error), WEFT_OK);
    // Top left dot, bottom right dot, and between them a line without a gap.
    static const char expected[] = "   3.000 ┤⠙⠦⣄       \n"
                                   "         │  ⠈⠳⣄⡀    \n"
                                   "   1.000 ┤     ⠙⠦⣄  \n"
                                   "   0.000 ┤       ⠈⠓⢦\n"
                                   "         └──────────\n"
                                   "          0        3  step\n";
    assert_string_equal(text, expected);
    free(text);
    double mark_x[] = {3}, mark_y[] = {0};
    plot.marks_x = mark_x;
    plot.marks_y = mark_y;
    plot.num_marks = 1;
    assert_int_equal(weft_plot_draw(&plot, &text, &error), WEFT_OK);
    assert_non_null(strstr(text, "o\n         └"));
    free(text);
    plot.num_marks = 0;
    plot.count = 1; // one point has no extent
    assert_int_equal(weft_plot_draw(&plot, &text, &error), WEFT_OK);
    free(text);
    plot.count = 0;
    assert_int_equal(weft_plot_draw(&plot, &text, &error), WEFT_INVALID_ARGUMENT);
    plot.count = 4;
    plot.columns = 1000;
    assert_int_equal(weft_plot_draw(&plot, &text, &error), WEFT_INVALID_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_of_a_file),
        cmocka_unit_test(test_text_holds_out_its_end),
        cmocka_unit_test(test_licenses),
        cmocka_unit_test(test_kjv),
        cmocka_unit_test(test_record_round_trip_and_damage),
        cmocka_unit_test(test_record_differences),
        cmocka_unit_test(test_plot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
