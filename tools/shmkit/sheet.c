#include "sheet.h"

#include <inttypes.h>
#include <libsmartcols.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct sheet {
	const char *name;
	const struct sheet_column *columns;
	size_t count;
	struct libscols_table *table;
	struct libscols_line *line;
	json_t *lines, *object;
};

static void *must(void *made)
{
	if (!made) {
		cli_say("there is no memory for what was to be printed");
		abort();
	}
	return made;
}

struct sheet *sheet_new(const char *name, const struct sheet_column *columns, size_t count)
{
	struct sheet *sheet = must(calloc(1, sizeof(*sheet)));

	*sheet = (struct sheet){ .name = name, .columns = columns, .count = count };
	sheet->lines = must(json_array());
	sheet->table = must(scols_new_table());
	scols_table_enable_raw(sheet->table, cli_output == OUTPUT_RAW);
	scols_table_enable_colors(sheet->table, !cli_no_color && isatty(STDOUT_FILENO));
	/* cells are escaped already, and libsmartcols would do it again */
	scols_table_enable_noencoding(sheet->table, cli_output != OUTPUT_RAW);
	for (size_t i = 0; i < count; i++) {
		int flags = (columns[i].flags & SHEET_RIGHT ? SCOLS_FL_RIGHT : 0) |
			    (columns[i].flags & SHEET_WIDE ? SCOLS_FL_TRUNC : 0) |
			    (columns[i].flags & SHEET_HIDDEN ? SCOLS_FL_HIDDEN : 0);

		must(scols_table_new_column(sheet->table, columns[i].title, columns[i].flags & SHEET_WIDE ? 0.5 : 1,
					    flags));
	}
	return sheet;
}

void sheet_line(struct sheet *sheet)
{
	sheet->line = must(scols_table_new_line(sheet->table, NULL));
	sheet->object = must(json_object());
	for (size_t i = 0; i < sheet->count; i++)
		json_object_set_new(sheet->object, sheet->columns[i].key, json_null());
	json_array_append_new(sheet->lines, sheet->object);
}

void sheet_json(struct sheet *sheet, size_t column, const char *shown, json_t *value)
{
	if (scols_line_set_data(sheet->line, column, shown) != 0)
		must(NULL);
	json_object_set_new(sheet->object, sheet->columns[column].key, must(value));
}

void sheet_text(struct sheet *sheet, size_t column, const char *bytes, size_t size)
{
	char *escaped = must(malloc(4 * size + 1));

	sheet_json(sheet, column, cli_escape(bytes, size, escaped), sheet_json_string(bytes, size));
	free(escaped);
}

void sheet_string(struct sheet *sheet, size_t column, const char *text)
{
	sheet_text(sheet, column, text, strlen(text));
}

static json_t *json_unsigned(uint64_t number)
{
	return number > INT64_MAX ? json_real((double)number) : json_integer((json_int_t)number);
}

void sheet_number(struct sheet *sheet, size_t column, uint64_t number)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, number);
	sheet_json(sheet, column, text, json_unsigned(number));
}

void sheet_signed(struct sheet *sheet, size_t column, int64_t number)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRId64, number);
	sheet_json(sheet, column, text, json_integer(number));
}

void sheet_real(struct sheet *sheet, size_t column, double number, int decimals)
{
	char text[340];

	snprintf(text, sizeof(text), "%.*f", decimals, number);
	/* JSON has no infinity */
	sheet_json(sheet, column, text, number - number == 0 ? json_real(number) : json_null());
}

void sheet_bytes(struct sheet *sheet, size_t column, uint64_t bytes)
{
	if (cli_output == OUTPUT_RAW)
		sheet_number(sheet, column, bytes);
	else
		sheet_json(sheet, column, cli_human(bytes), json_unsigned(bytes));
}

void sheet_duration(struct sheet *sheet, size_t column, uint64_t ns)
{
	if (cli_output == OUTPUT_RAW)
		sheet_number(sheet, column, ns);
	else
		sheet_json(sheet, column, cli_duration(ns), json_unsigned(ns));
}

void sheet_bool(struct sheet *sheet, size_t column, bool value)
{
	sheet_json(sheet, column, value ? "yes" : "no", json_boolean(value));
}

void sheet_color(struct sheet *sheet, size_t column, const char *color)
{
	struct libscols_cell *cell = scols_line_get_cell(sheet->line, column);

	if (cell)
		scols_cell_set_color(cell, color);
}

json_t *sheet_take(struct sheet *sheet)
{
	json_t *lines = sheet->lines;

	scols_unref_table(sheet->table);
	free(sheet);
	return lines;
}

void sheet_print(struct sheet *sheet)
{
	const char *name = sheet->name;
	json_t *lines, *document;

	if (cli_output != OUTPUT_JSON && scols_table_get_nlines(sheet->table)) {
		fflush(stdout);
		scols_print_table(sheet->table);
	}
	lines = sheet_take(sheet);
	if (cli_output == OUTPUT_JSON) {
		document = sheet_document();
		json_object_set(document, name, lines);
		sheet_print_document(document);
	}
	json_decref(lines);
}

json_t *sheet_json_string(const char *bytes, size_t size)
{
	json_t *string = json_stringn(bytes, size);

	if (!string) {
		char *escaped = must(malloc(4 * size + 1));

		string = must(json_string(cli_escape(bytes, size, escaped)));
		free(escaped);
	}
	return string;
}

json_t *sheet_document(void)
{
	json_t *document = must(json_object());

	json_object_set_new(document, "schema_version", json_integer(SHEET_SCHEMA_VERSION));
	return document;
}

void sheet_print_document(json_t *document)
{
	json_dumpf(document, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(17));
	putchar('\n');
	json_decref(document);
}
