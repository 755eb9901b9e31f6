/*
 * A table for people, for pipes and for programs: columns or --raw by libsmartcols, --json by
 * jansson. A cell has one value and each of them shows it in its own way.
 *
 * The JSON is an object: "schema_version", and under the sheet's name a list of objects, one for
 * each line, with the columns' keys. A key once there stays, with its meaning and type; new ones
 * may come. schema_version grows when that does not hold.
 */
#ifndef SHMKIT_SHEET_H
#define SHMKIT_SHEET_H

#include "cli.h"

#include <jansson.h>

#define SHEET_SCHEMA_VERSION 1

enum {
	SHEET_RIGHT = 1 << 0,
	SHEET_WIDE = 1 << 1,                /* may be cut when the terminal is narrow */
	SHEET_HIDDEN = 1 << 2,              /* in --json only */
};

struct sheet_column {
	const char *title;                  /* for people and --raw */
	const char *key;                    /* for --json */
	unsigned flags;
};

struct sheet;

/* name: the list's key in JSON. columns is kept, not copied. */
struct sheet *sheet_new(const char *name, const struct sheet_column *columns, size_t count);

/* A new line; the functions below fill it. What is not filled is empty, null in JSON. */
void sheet_line(struct sheet *sheet);

void sheet_text(struct sheet *sheet, size_t column, const char *bytes, size_t size);   /* escaped */
void sheet_string(struct sheet *sheet, size_t column, const char *text);               /* escaped */
void sheet_number(struct sheet *sheet, size_t column, uint64_t number);
void sheet_signed(struct sheet *sheet, size_t column, int64_t number);
void sheet_real(struct sheet *sheet, size_t column, double number, int decimals);
void sheet_bytes(struct sheet *sheet, size_t column, uint64_t bytes);      /* human; a number for programs */
void sheet_duration(struct sheet *sheet, size_t column, uint64_t ns);      /* the same */
void sheet_bool(struct sheet *sheet, size_t column, bool value);
void sheet_json(struct sheet *sheet, size_t column, const char *shown, json_t *value);  /* steals value */

/* Of the cell, when there are colors: "red", "green", "yellow", "brown", "halfbright". */
void sheet_color(struct sheet *sheet, size_t column, const char *color);

/* Prints it in the way that was asked for, and frees it. */
void sheet_print(struct sheet *sheet);

/* Its list of lines for a document that holds more than it; frees the sheet. */
json_t *sheet_take(struct sheet *sheet);

/* A string for JSON of any bytes: as they are where they are UTF-8, otherwise escaped. */
json_t *sheet_json_string(const char *bytes, size_t size);

/* The document around whatever else is printed as JSON: {"schema_version": 1}. */
json_t *sheet_document(void);

/* Prints a document, and frees it. */
void sheet_print_document(json_t *document);

#endif
