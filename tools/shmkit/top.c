/*
 * top: segments, or one segment's structures and members, again and again on the terminal. Where
 * there is none, plain lines.
 */
#include "sample.h"

#include <curses.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define HUNG_NS UINT64_C(5000000000)

enum { COLOR_GOOD = 1, COLOR_BAD, COLOR_WARN, COLOR_HEAD, COLOR_BAR };

enum order { ORDER_NAME, ORDER_RATE, ORDER_FULL };

static struct {
	int64_t interval_ns;
	uint64_t rounds;                    /* 0: for ever */
	enum order order;
	size_t selected, scrolled;
	char segment[256];                  /* "": all of them */
	bool help, colors;
} view = { .interval_ns = 1000000000, .order = ORDER_RATE };

struct samples {
	struct sample **list;
	size_t count;
};

/* ---- what is shown ---- */

static struct samples take_all(void)
{
	struct found_segment *found;
	struct samples samples = { NULL, 0 };
	int64_t count = 1;

	if (view.segment[0]) {
		samples.list = malloc(sizeof(*samples.list));
		if (!samples.list)
			abort();
		samples.list[samples.count++] = sample_take(view.segment);
		return samples;
	}
	count = cli_find_segments(&found);
	samples.list = calloc(count > 0 ? (size_t)count : 1, sizeof(*samples.list));
	if (!samples.list)
		abort();
	for (int64_t i = 0; i < count; i++)
		samples.list[samples.count++] = sample_take(found[i].name);
	if (count >= 0)
		free(found);
	return samples;
}

static void free_all(struct samples *samples)
{
	for (size_t i = 0; i < samples->count; i++)
		sample_free(samples->list[i]);
	free(samples->list);
	*samples = (struct samples){ NULL, 0 };
}

static const struct sample *same_segment(const struct samples *earlier, const struct sample *now)
{
	for (size_t i = 0; i < earlier->count; i++)
		if (earlier->list[i]->error == 0 && strcmp(earlier->list[i]->name, now->name) == 0)
			return earlier->list[i];
	return NULL;
}

/* A line's key for the order, and its place in what it is of. */
struct ordered {
	double key;
	size_t index;
};

static int by_key(const void *one, const void *other)
{
	const struct ordered *a = one, *b = other;

	return a->key > b->key ? -1 : a->key < b->key ? 1 : a->index < b->index ? -1 : 1;
}

static double fullness(const struct shmkit_entry_info *info)
{
	bool fills = info->kind == SHMKIT_KIND_QUEUE || info->kind == SHMKIT_KIND_RING || info->kind == SHMKIT_KIND_POOL;

	return fills && info->capacity ? (double)info->used / (double)info->capacity : -1;
}

static struct ordered *order_entries(const struct sample *now, const struct sample *earlier)
{
	struct ordered *order = calloc(now->entry_count + 1, sizeof(*order));

	if (!order)
		abort();
	for (size_t i = 0; i < now->entry_count; i++) {
		struct sample_rates rates = sample_entry_rates(now, earlier, &now->entries[i]);

		order[i].index = i;
		order[i].key = view.order == ORDER_RATE ? rates.in + rates.out
			       : view.order == ORDER_FULL ? fullness(&now->entries[i].info) : 0;
	}
	qsort(order, now->entry_count, sizeof(*order), by_key);
	return order;
}

static struct ordered *order_segments(const struct samples *now, const struct samples *earlier)
{
	struct ordered *order = calloc(now->count + 1, sizeof(*order));

	if (!order)
		abort();
	for (size_t i = 0; i < now->count; i++) {
		struct sample_rates rates = sample_rates(now->list[i], same_segment(earlier, now->list[i]));

		order[i].index = i;
		order[i].key = view.order == ORDER_RATE ? rates.in + rates.out
			       : view.order == ORDER_FULL && now->list[i]->info.size
			       ? (double)now->list[i]->info.used / (double)now->list[i]->info.size : 0;
	}
	qsort(order, now->count, sizeof(*order), by_key);
	return order;
}

/* "12.3k" */
static const char *rate_text(double rate)
{
	static char buffers[8][16];
	static unsigned next;
	char *buffer = buffers[next++ % 8];
	const char *unit = "";

	for (const char *units = "kMG"; rate >= 10000 && *units; units++) {
		rate /= 1000;
		unit = units;
	}
	snprintf(buffer, sizeof(buffers[0]), rate < 100 && *unit ? "%.1f%.1s" : "%.0f%.1s", rate, unit);
	return buffer;
}

static const char *member_state(const struct shmkit_member_info *member)
{
	if (!member->alive)
		return "dead";
	return member->heartbeat_age_ns != UINT64_MAX && member->heartbeat_age_ns > HUNG_NS ? "hung" : "alive";
}

/* ---- plain lines ---- */

static void print_plain(const struct samples *now, const struct samples *earlier)
{
	for (size_t i = 0; i < now->count; i++) {
		const struct sample *sample = now->list[i], *before = same_segment(earlier, sample);
		struct sample_rates rates = sample_rates(sample, before);

		printf("%s: %s, %" PRIu32 " alive, %" PRIu32 " dead, %s of %s used, in %s/s, out %s/s\n",
		       cli_escaped(sample->name), sample_state(sample), sample->alive, sample->dead,
		       cli_human(sample->info.used), cli_human(sample->info.size), rate_text(rates.in), rate_text(rates.out));
		for (size_t e = 0; view.segment[0] && e < sample->entry_count; e++) {
			const struct sample_entry *entry = &sample->entries[e];

			rates = sample_entry_rates(sample, before, entry);
			printf("  %s: %s, %" PRIu64 " of %" PRIu64 ", in %s/s, out %s/s\n", cli_escaped(entry->info.name),
			       cli_kind_name(entry->info.kind), entry->info.used, entry->info.capacity, rate_text(rates.in),
			       rate_text(rates.out));
		}
	}
	fflush(stdout);
}

/* ---- the screen ---- */

static void color_on(int color)
{
	if (view.colors)
		attron(COLOR_PAIR(color));
}

static void color_off(int color)
{
	if (view.colors)
		attroff(COLOR_PAIR(color));
}

static void put_line(int row, const char *text, bool selected)
{
	if (selected)
		attron(A_REVERSE);
	mvaddnstr(row, 0, text, COLS);
	if (selected) {
		for (int x = getcurx(stdscr); x < COLS && getcury(stdscr) == row && x > 0; x++)
			mvaddch(row, x, ' ');
		attroff(A_REVERSE);
	}
}

static void put_bar(int row, int column, int width, double full)
{
	int filled = (int)(full * width + 0.5);
	int color = full >= 0.9 ? COLOR_BAD : full >= 0.7 ? COLOR_WARN : COLOR_GOOD;

	if (column + width + 7 > COLS || full < 0)
		return;
	mvaddch(row, column, '[');
	color_on(color);
	for (int i = 0; i < width; i++)
		addch(i < filled ? '|' : ' ');
	color_off(color);
	printw("] %3d%%", (int)(full * 100 + 0.5));
}

static void put_head(int row, const char *text)
{
	attron(A_BOLD);
	color_on(COLOR_HEAD);
	mvaddnstr(row, 0, text, COLS);
	color_off(COLOR_HEAD);
	attroff(A_BOLD);
}

/* Keeps the selected line on the screen. */
static void scroll_to(size_t count, int rows)
{
	size_t fit = rows > 0 ? (size_t)rows : 1;

	if (count && view.selected >= count)
		view.selected = count - 1;
	if (!count)
		view.selected = 0;
	if (view.selected < view.scrolled)
		view.scrolled = view.selected;
	if (view.selected >= view.scrolled + fit)
		view.scrolled = view.selected - fit + 1;
}

static void show_segments(const struct samples *now, const struct samples *earlier, struct ordered *order)
{
	char line[ESCAPED_SIZE + 160];

	put_head(2, "  NAME                         STATE      ALIVE DEAD      IN/s     OUT/s    USED  OF");
	scroll_to(now->count, LINES - 4);
	for (int row = 3; row < LINES - 1 && view.scrolled + (size_t)(row - 3) < now->count; row++) {
		size_t at = view.scrolled + (size_t)(row - 3);
		const struct sample *sample = now->list[order[at].index];
		struct sample_rates rates = sample_rates(sample, same_segment(earlier, sample));
		double used = sample->info.size ? (double)sample->info.used / (double)sample->info.size : 0;

		snprintf(line, sizeof(line), "  %-28.28s %-10s %5" PRIu32 " %4" PRIu32 " %9s %9s %7s %5s", cli_escaped(sample->name),
			 sample_state(sample), sample->alive, sample->dead, rate_text(rates.in), rate_text(rates.out),
			 cli_human(sample->info.used), cli_human(sample->info.size));
		put_line(row, line, at == view.selected);
		if (sample->error == 0)
			put_bar(row, 88, 20, used);
	}
	if (now->count == 0)
		mvaddstr(3, 2, "there are no segments");
}

static void show_members(const struct sample *sample, int row)
{
	char line[256], label[4 * 32 + 1];

	if (row >= LINES - 2)
		return;
	put_head(row++, "  MEMBER     PID STATE  HEARTBEAT  LABEL");
	for (size_t i = 0; i < sample->member_count && row < LINES - 1; i++, row++) {
		const struct shmkit_member_info *member = &sample->members[i];
		const char *state = member_state(member);
		int color = *state == 'a' ? COLOR_GOOD : *state == 'h' ? COLOR_WARN : COLOR_BAD;

		snprintf(line, sizeof(line), "  %6" PRIu32 " %7" PRId32 " ", member->id, member->pid);
		mvaddnstr(row, 0, line, COLS);
		color_on(color);
		printw("%-5s", state);
		color_off(color);
		printw(" %10s  %s", member->heartbeat_age_ns == UINT64_MAX ? "-" : cli_duration(member->heartbeat_age_ns),
		       cli_escape(member->label, strnlen(member->label, sizeof(member->label)), label));
	}
}

static void show_structures(const struct sample *sample, const struct sample *earlier, struct ordered *order)
{
	int room = LINES - 4, members = (int)sample->member_count + 1, rows;
	char line[ESCAPED_SIZE + 160];

	/* members have up to a third of the screen */
	if (members > room / 3)
		members = room / 3;
	rows = room - members - 1;
	if (rows > (int)sample->entry_count + 1)
		rows = (int)sample->entry_count + 1;
	put_head(2, "  NAME                 KIND             USED  CAPACITY      IN/s     OUT/s    LOST");
	scroll_to(sample->entry_count, rows);
	for (int row = 3; row < 3 + rows && view.scrolled + (size_t)(row - 3) < sample->entry_count; row++) {
		size_t at = view.scrolled + (size_t)(row - 3);
		const struct sample_entry *entry = &sample->entries[order[at].index];
		struct sample_rates rates = sample_entry_rates(sample, earlier, entry);

		snprintf(line, sizeof(line), "  %-20.20s %-11s %9" PRIu64 " %9" PRIu64 " %9s %9s %7" PRIu64,
			 cli_escaped(entry->info.name), cli_kind_name(entry->info.kind), entry->info.used,
			 entry->info.capacity, entry->counts ? rate_text(rates.in) : "-",
			 entry->counts ? rate_text(rates.out) : "-", entry->lost);
		put_line(row, line, at == view.selected);
		put_bar(row, 84, 20, fullness(&entry->info));
	}
	show_members(sample, 4 + rows);
}

static void show_help(void)
{
	static const char *const lines[] = {
		"Up, Down, PgUp, PgDn   choose a line", "Enter                  look into a segment",
		"Esc, Backspace         back to all segments", "n r f                  order by name, rate, fullness",
		"+ -                    look more often, less often", "h ?                    this help, and away with it",
		"q                      leave",
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		mvaddnstr(3 + (int)i, 4, lines[i], COLS - 4);
}

static void show(const struct samples *now, const struct samples *earlier, struct ordered *order)
{
	static const char *const orders[] = { "name", "rate", "fullness" };
	const struct sample *one = view.segment[0] && now->count ? now->list[0] : NULL;
	char line[ESCAPED_SIZE + 120];

	erase();
	if (one)
		snprintf(line, sizeof(line), "shmkit top: %s, %s, %" PRIu32 " alive, %" PRIu32 " dead, %s of %s used",
			 cli_escaped(one->name), sample_state(one), one->alive, one->dead, cli_human(one->info.used),
			 cli_human(one->info.size));
	else
		snprintf(line, sizeof(line), "shmkit top: %zu segment%s", now->count, now->count == 1 ? "" : "s");
	attron(A_BOLD);
	mvaddnstr(0, 0, line, COLS);
	attroff(A_BOLD);
	if (view.help)
		show_help();
	else if (one)
		show_structures(one, same_segment(earlier, one), order);
	else
		show_segments(now, earlier, order);
	snprintf(line, sizeof(line), " every %s, by %s    q leave  h help", cli_duration((uint64_t)view.interval_ns),
		 orders[view.order]);
	attron(A_REVERSE);
	mvhline(LINES - 1, 0, ' ', COLS);
	mvaddnstr(LINES - 1, 0, line, COLS);
	attroff(A_REVERSE);
	refresh();
}

/* ---- keys ---- */

enum action { GO_ON, LOOK_AGAIN, LEAVE };

static enum action choose_segment(const struct samples *now, const struct ordered *order)
{
	if (view.segment[0] || view.selected >= now->count)
		return GO_ON;
	snprintf(view.segment, sizeof(view.segment), "%s", now->list[order[view.selected].index]->name);
	view.selected = view.scrolled = 0;
	return LOOK_AGAIN;
}

static enum action press(int key, const struct samples *now, const struct ordered *order, bool one_only)
{
	size_t page = LINES > 8 ? (size_t)LINES - 8 : 1;

	switch (key) {
	case 'q':
	case 'Q':
		return LEAVE;
	case KEY_UP:
	case 'k':
		view.selected -= view.selected > 0;
		return GO_ON;
	case KEY_DOWN:
	case 'j':
		view.selected++;
		return GO_ON;
	case KEY_PPAGE:
		view.selected -= view.selected < page ? view.selected : page;
		return GO_ON;
	case KEY_NPAGE:
		view.selected += page;
		return GO_ON;
	case '\n':
	case KEY_ENTER:
		return choose_segment(now, order);
	case 27:
	case KEY_BACKSPACE:
	case 127:
		if (one_only || !view.segment[0])
			return GO_ON;
		view.segment[0] = 0;
		view.selected = view.scrolled = 0;
		return LOOK_AGAIN;
	case 'n':
	case 'r':
	case 'f':
		view.order = key == 'n' ? ORDER_NAME : key == 'r' ? ORDER_RATE : ORDER_FULL;
		return GO_ON;
	case '+':
		view.interval_ns = view.interval_ns > 200000000 ? view.interval_ns / 2 : view.interval_ns;
		return GO_ON;
	case '-':
		view.interval_ns = view.interval_ns < INT64_C(60000000000) ? view.interval_ns * 2 : view.interval_ns;
		return GO_ON;
	case 'h':
	case '?':
		view.help = !view.help;
		return GO_ON;
	default:
		return GO_ON;               /* KEY_RESIZE too: it is drawn anew */
	}
}

static void begin_screen(void)
{
	initscr();
	cbreak();
	noecho();
	curs_set(0);
	keypad(stdscr, TRUE);
	set_escdelay(50);
	view.colors = !cli_no_color && has_colors();
	if (!view.colors)
		return;
	start_color();
	use_default_colors();
	init_pair(COLOR_GOOD, COLOR_GREEN, -1);
	init_pair(COLOR_BAD, COLOR_RED, -1);
	init_pair(COLOR_WARN, COLOR_YELLOW, -1);
	init_pair(COLOR_HEAD, COLOR_CYAN, -1);
}

static int64_t left_ms(uint64_t began_ns)
{
	struct timespec now;
	int64_t passed;

	clock_gettime(CLOCK_MONOTONIC, &now);
	passed = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec - (int64_t)began_ns;
	return passed >= view.interval_ns ? 0 : (view.interval_ns - passed + 999999) / 1000000;
}

/* One interval: shows, and answers keys until it is over. */
static enum action stay(const struct samples *now, const struct samples *earlier, bool one_only)
{
	uint64_t began = cli_now_ns();
	enum action action = GO_ON;

	while (action == GO_ON) {
		struct ordered *order = view.segment[0] && now->count
					? order_entries(now->list[0], same_segment(earlier, now->list[0]))
					: order_segments(now, earlier);
		int64_t left = left_ms(began);
		int key;

		show(now, earlier, order);
		timeout((int)(left < 60000 ? left : 60000));
		key = getch();
		action = key == ERR ? (left_ms(began) == 0 ? LOOK_AGAIN : GO_ON) : press(key, now, order, one_only);
		free(order);
	}
	return action;
}

static bool top_option(int option, char *argument)
{
	if (option == 'n')
		return cli_parse_number(argument, "-n", 1, INT64_MAX, &view.rounds);
	if (!cli_parse_seconds(argument, "-i", &view.interval_ns))
		return false;
	if (view.interval_ns >= 100000000)
		return true;
	cli_usage("-i: %s is less than 0.1 seconds", argument);
	return false;
}

static void rest(void)
{
	struct timespec time = { .tv_sec = view.interval_ns / 1000000000, .tv_nsec = view.interval_ns % 1000000000 };

	while (nanosleep(&time, &time) != 0 && errno == EINTR)
		;
}

static int run_top(int argc, char **argv)
{
	static const struct option options[] = {
		{ "interval", required_argument, NULL, 'i' },
		{ "count", required_argument, NULL, 'n' },
		{ NULL, 0, NULL, 0 },
	};
	struct samples earlier = { NULL, 0 }, now;
	struct shmkit_segment *segment;
	bool screen = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && getenv("TERM");
	int first, result;

	CLI_OPTIONS(first, argc, argv, commands_top, options, "i:n:", top_option);
	if (argc - first > 1)
		return cli_usage("it takes one SEGMENT, or none for all, not %d", argc - first);
	if (first < argc) {
		segment = cli_open(argv[first], SHMKIT_READ_ONLY, &result);   /* says why not */
		if (!segment)
			return result;
		shmkit_segment_close(segment);
		snprintf(view.segment, sizeof(view.segment), "%s", argv[first] + (*argv[first] == '/'));
	}
	if (screen)
		begin_screen();
	for (uint64_t round = 1;; round++) {
		now = take_all();
		if (screen && stay(&now, &earlier, first < argc) == LEAVE)
			break;
		if (!screen)
			print_plain(&now, &earlier);
		if (round == view.rounds || ferror(stdout))
			break;
		if (!screen)
			rest();
		free_all(&earlier);
		earlier = now;
	}
	if (screen)
		endwin();
	free_all(&earlier);
	free_all(&now);
	return EXIT_YES;
}

const struct command commands_top[] = {
	{ "top", "[-i SECONDS] [-n ROUNDS] [SEGMENT]", "Show segments, or one, live", run_top },
	{ .name = NULL },
};
