/* map: what lies where in a segment, to scale, in the terminal and as a picture. */
#include "cli.h"
#include "sheet.h"

#include <errno.h>
#include <inttypes.h>
#include <langinfo.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum region_kind { REGION_OVERHEAD, REGION_STRUCTURE, REGION_FREE };

struct region {
	enum region_kind what;
	uint64_t offset, size;              /* bytes */
	char name[ESCAPED_SIZE];            /* escaped */
	uint32_t kind;
	int percent;                        /* full; -1 it is not a container that fills */
};

struct layout {
	struct region *regions;
	size_t count;
	struct shmkit_segment_info info;
	const char *name;
};

/* ---- what lies where ---- */

static struct region *add(struct layout *layout, enum region_kind what, uint64_t offset, uint64_t size,
			  const char *name)
{
	struct region *region;

	/* what a damaged entry says lies within the segment all the same */
	if (offset > layout->info.size)
		offset = layout->info.size;
	if (size > layout->info.size - offset)
		size = layout->info.size - offset;
	layout->regions = reallocarray(layout->regions, layout->count + 1, sizeof(*region));
	if (!layout->regions)
		abort();
	region = &layout->regions[layout->count++];
	*region = (struct region){ .what = what, .offset = offset, .size = size, .percent = -1 };
	snprintf(region->name, sizeof(region->name), "%s", name);
	return region;
}

static int by_offset(const void *one, const void *other)
{
	uint64_t a = ((const struct region *)one)->offset, b = ((const struct region *)other)->offset;

	return a < b ? -1 : a > b;
}

/* What no structure has: free, or held by handles on structures that were removed. */
static void fill_gaps(struct layout *layout)
{
	size_t count = layout->count;
	uint64_t at = 0;

	qsort(layout->regions, count, sizeof(*layout->regions), by_offset);
	for (size_t i = 0; i < count; i++) {
		uint64_t offset = layout->regions[i].offset, size = layout->regions[i].size;

		if (offset > at)
			add(layout, REGION_FREE, at, offset - at, "free, or of what was removed");
		if (offset + size > at)
			at = offset + size;
	}
	if (layout->info.size > at)
		add(layout, REGION_FREE, at, layout->info.size - at, "free");
	qsort(layout->regions, layout->count, sizeof(*layout->regions), by_offset);
}

static int look(struct shmkit_segment *segment, struct layout *layout)
{
	struct shmkit_segment_info info = { .struct_size = sizeof(info) };
	struct shmkit_entry_info entry = { .struct_size = sizeof(entry) };
	uint32_t cursor = 0;
	int result = shmkit_segment_get_info(segment, &info);

	if (result)
		return cli_failed(result);
	layout->info = info;
	add(layout, REGION_OVERHEAD, 0, layout->info.overhead, "header, table, members");
	while ((result = shmkit_segment_next_entry(segment, &cursor, &entry)) == 1) {
		struct region *region = add(layout, REGION_STRUCTURE, entry.offset, entry.size, "");

		cli_escape(entry.name, strlen(entry.name), region->name);
		region->kind = entry.kind;
		if ((entry.kind == SHMKIT_KIND_QUEUE || entry.kind == SHMKIT_KIND_RING ||
		     entry.kind == SHMKIT_KIND_POOL) && entry.capacity)
			region->percent = (int)((double)entry.used * 100 / (double)entry.capacity);
	}
	fill_gaps(layout);
	return result ? cli_failed(result) : EXIT_YES;
}

/* ---- in the terminal ---- */

struct pen {
	const char *across, *down, *left_top, *right_top, *left, *right, *left_bottom, *right_bottom, *full, *empty;
};

static const struct pen utf8_pen = { "─", "│", "┌", "┐", "├", "┤", "└", "┘", "█", "░" };
static const struct pen ascii_pen = { "-", "|", "+", "+", "+", "+", "+", "+", "#", "." };

#define INNER_WIDTH 76u
#define BAR_WIDTH 10

static void rule(const struct pen *pen, const char *left, const char *right)
{
	fputs(left, stdout);
	for (unsigned i = 0; i < INNER_WIDTH; i++)
		fputs(pen->across, stdout);
	puts(right);
}

/* How many columns an escaped text takes: the continuation bytes of UTF-8 take none. */
static size_t columns_of(const char *text)
{
	size_t count = 0;

	for (; *text; text++)
		count += ((unsigned char)*text & 0xc0) != 0x80;
	return count;
}

static void boxed(const struct pen *pen, const char *text, size_t columns)
{
	printf("%s%s", pen->down, text);
	for (size_t i = columns; i < INNER_WIDTH; i++)
		putchar(' ');
	puts(pen->down);
}

/* Cut to at most that many columns, not within a character. */
static void cut(char *text, size_t columns)
{
	size_t seen = 0;

	for (char *at = text; *at; at++)
		if (((unsigned char)*at & 0xc0) != 0x80 && seen++ == columns) {
			*at = 0;
			return;
		}
}

static void draw_region(const struct pen *pen, const struct region *region, unsigned lines)
{
	char name[ESCAPED_SIZE], line[ESCAPED_SIZE + 128], bar[BAR_WIDTH * 4 + 16] = "";
	const char *kind = region->what == REGION_STRUCTURE ? cli_kind_name(region->kind) : "";

	snprintf(name, sizeof(name), "%s", region->name);
	cut(name, 26);
	if (region->percent >= 0) {
		char *to = bar;

		for (int i = 0; i < BAR_WIDTH; i++)
			to = stpcpy(to, i * 100 < region->percent * BAR_WIDTH ? pen->full : pen->empty);
		snprintf(to, 16, " %d%%", region->percent > 100 ? 100 : region->percent);
	}
	snprintf(line, sizeof(line), " 0x%09" PRIx64 " %6s  %s%*s %-11s %s", region->offset, cli_human(region->size), name,
		 (int)(26 - columns_of(name)), "", kind, bar);
	cut(line, INNER_WIDTH);
	boxed(pen, line, columns_of(line));
	for (unsigned i = 1; i < lines; i++)
		boxed(pen, "", 0);
}

static unsigned terminal_lines(void)
{
	struct winsize size;

	if (isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 20)
		return size.ws_row - 4u;
	return 36;
}

static void draw_text(const struct layout *layout)
{
	const struct pen *pen = strcmp(nl_langinfo(CODESET), "UTF-8") == 0 ? &utf8_pen : &ascii_pen;
	unsigned lines = terminal_lines();
	char title[ESCAPED_SIZE + 64];

	snprintf(title, sizeof(title), " %s: %s, %s used, %" PRIu32 " of %" PRIu32 " entries", cli_escaped(layout->name),
		 cli_human(layout->info.size), cli_human(layout->info.used), layout->info.entries, layout->info.max_entries);
	cut(title, INNER_WIDTH);
	rule(pen, pen->left_top, pen->right_top);
	boxed(pen, title, columns_of(title));
	for (size_t i = 0; i < layout->count; i++) {
		const struct region *region = &layout->regions[i];
		double share = (double)region->size / (double)layout->info.size * lines;

		if (share > lines)
			share = lines;
		rule(pen, pen->left, pen->right);
		draw_region(pen, region, share > 2 ? (unsigned)(share + 0.5) - 1 : 1);
	}
	rule(pen, pen->left_bottom, pen->right_bottom);
}

/* ---- as a picture ---- */

#define SVG_HEIGHT 900.0
#define SVG_LEAST 14.0                      /* pixels for a line of text */

static const char *color_of(const struct region *region)
{
	if (region->what == REGION_OVERHEAD)
		return "#8a8f98";
	if (region->what == REGION_FREE)
		return "#f2f2f2";
	switch (region->kind) {
	case SHMKIT_KIND_ARRAY:
		return "#6fa8dc";
	case SHMKIT_KIND_QUEUE:
		return "#93c47d";
	case SHMKIT_KIND_RING:
		return "#f6b26b";
	case SHMKIT_KIND_POOL:
		return "#c27ba0";
	default:
		return "#ffd966";
	}
}

static void xml_text(FILE *to, const char *text)
{
	for (; *text; text++)
		switch (*text) {
		case '<':
			fputs("&lt;", to);
			break;
		case '>':
			fputs("&gt;", to);
			break;
		case '&':
			fputs("&amp;", to);
			break;
		case '"':
			fputs("&quot;", to);
			break;
		default:
			fputc(*text, to);
			break;
		}
}

/*
 * The left column is to scale. What would be too thin there for its name has it in the right one,
 * where each line has the same height, and a line that leads to it.
 */
static void draw_svg(const struct layout *layout, FILE *to)
{
	double scale = SVG_HEIGHT / (double)layout->info.size;
	double height = (double)layout->count * SVG_LEAST + 40, label = 40;

	if (height < SVG_HEIGHT + 60)
		height = SVG_HEIGHT + 60;
	fprintf(to, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"900\" height=\"%.0f\" font-family=\"sans-serif\" "
		    "font-size=\"11\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n"
		    "<text x=\"20\" y=\"24\" font-size=\"15\">", height);
	xml_text(to, cli_escaped(layout->name));
	fprintf(to, ": %s, %s used</text>\n", cli_human(layout->info.size), cli_human(layout->info.used));
	for (size_t i = 0; i < layout->count; i++) {
		const struct region *region = &layout->regions[i];
		double top = 40 + (double)region->offset * scale, tall = (double)region->size * scale;
		/* labels stay in order, near what they name, and below one another */
		double wanted = top + tall / 2;

		label = wanted > label + SVG_LEAST ? wanted : label + SVG_LEAST;
		if (label > height - (double)(layout->count - i) * SVG_LEAST)
			label = height - (double)(layout->count - i) * SVG_LEAST;
		fprintf(to, "<rect x=\"20\" y=\"%.2f\" width=\"300\" height=\"%.2f\" fill=\"%s\" stroke=\"#555\" "
			    "stroke-width=\"0.4\"/>\n", top, tall < 0.4 ? 0.4 : tall, color_of(region));
		if (region->percent > 0)
			fprintf(to, "<rect x=\"20\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" fill=\"#000\" "
				    "fill-opacity=\"0.25\"/>\n", top, 3.0 * (region->percent > 100 ? 100 : region->percent),
				tall);
		fprintf(to, "<path d=\"M320 %.2f L360 %.2f L372 %.2f\" fill=\"none\" stroke=\"#aaa\"/>\n"
			    "<text x=\"376\" y=\"%.2f\">0x%" PRIx64 "  %s  ", wanted, label, label, label + 4,
			region->offset, cli_human(region->size));
		xml_text(to, region->name);
		if (region->what == REGION_STRUCTURE)
			fprintf(to, "  (%s%s", cli_kind_name(region->kind), region->percent < 0 ? ")" : "");
		if (region->percent >= 0)
			fprintf(to, ", %d%% full)", region->percent > 100 ? 100 : region->percent);
		fputs("</text>\n", to);
	}
	fputs("</svg>\n", to);
}

static int write_svg(const struct layout *layout, const char *path)
{
	FILE *to = strcmp(path, "-") == 0 ? stdout : fopen(path, "we");
	bool good;

	if (!to) {
		cli_say("%s: %s", path, strerror(errno));
		return EXIT_OPEN;
	}
	draw_svg(layout, to);
	good = fflush(to) == 0 && !ferror(to);
	if (to != stdout)
		good &= fclose(to) == 0;
	if (!good)
		cli_say("%s: %s", path, strerror(errno));
	return good ? EXIT_YES : EXIT_OPEN;
}

/* ---- as JSON ---- */

static void print_json(const struct layout *layout)
{
	static const char *const words[] = { "overhead", "structure", "free" };
	json_t *document = sheet_document(), *list = json_array();

	for (size_t i = 0; i < layout->count; i++) {
		const struct region *region = &layout->regions[i];
		json_t *object = json_object();

		json_object_set_new(object, "what", json_string(words[region->what]));
		json_object_set_new(object, "offset", json_integer((json_int_t)region->offset));
		json_object_set_new(object, "size", json_integer((json_int_t)region->size));
		json_object_set_new(object, "name", region->what == REGION_STRUCTURE ? json_string(region->name)
										      : json_null());
		json_object_set_new(object, "kind", region->what == REGION_STRUCTURE
						    ? json_string(cli_kind_name(region->kind)) : json_null());
		json_object_set_new(object, "full_percent", region->percent < 0 ? json_null()
										 : json_integer(region->percent));
		json_array_append_new(list, object);
	}
	json_object_set_new(document, "size", json_integer((json_int_t)layout->info.size));
	json_object_set_new(document, "regions", list);
	sheet_print_document(document);
}

/* ---- the command ---- */

static const char *svg_path;

static bool map_option(int option, char *argument)
{
	(void)option;
	svg_path = argument;
	return true;
}

static int run_map(int argc, char **argv)
{
	static const struct option options[] = {
		{ "svg", required_argument, NULL, OPTION_LONG },
		{ NULL, 0, NULL, 0 },
	};
	struct layout layout = { .regions = NULL };
	struct shmkit_segment *segment;
	int first, result;

	CLI_OPTIONS(first, argc, argv, commands_map, options, "", map_option);
	if (argc - first != 1)
		return cli_usage("it takes one SEGMENT, not %d", argc - first);
	segment = cli_open(argv[first], SHMKIT_READ_ONLY, &result);
	if (!segment)
		return result;
	layout.name = argv[first] + (*argv[first] == '/');
	result = look(segment, &layout);
	shmkit_segment_close(segment);
	if (layout.count && layout.info.size) {
		if (svg_path)
			result = write_svg(&layout, svg_path) ? EXIT_OPEN : result;
		else if (cli_output == OUTPUT_JSON)
			print_json(&layout);
		else
			draw_text(&layout);
	}
	free(layout.regions);
	return result;
}

const struct command commands_map[] = {
	{ "map", "[--svg FILE] SEGMENT", "Draw what lies where in a segment", run_map },
	{ .name = NULL },
};
