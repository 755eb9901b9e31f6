/* export: the figures of every segment in Prometheus' text format, as a file or over HTTP. */
#include "sample.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef HAVE_MICROHTTPD
#include <microhttpd.h>
#endif

/* ---- the text ---- */

/* What is told of a segment, or of an entry: its family's name, type and help, and how it is got. */
struct family {
	const char *name, *type, *help;
	double (*of_segment)(const struct sample *sample);
	double (*of_entry)(const struct sample_entry *entry);   /* or this */
	bool counters;                      /* of entries that count alone */
};

static double up(const struct sample *sample)
{
	return sample->error == 0;
}

static double size_bytes(const struct sample *sample)
{
	return (double)sample->info.size;
}

static double used_bytes(const struct sample *sample)
{
	return (double)sample->info.used;
}

static double entries(const struct sample *sample)
{
	return sample->info.entries;
}

static double entries_max(const struct sample *sample)
{
	return sample->info.max_entries;
}

static double alive(const struct sample *sample)
{
	return sample->alive;
}

static double dead(const struct sample *sample)
{
	return sample->dead;
}

static double recoveries(const struct sample *sample)
{
	return sample->info.recoveries;
}

static double capacity(const struct sample_entry *entry)
{
	return (double)entry->info.capacity;
}

static double used(const struct sample_entry *entry)
{
	return (double)entry->info.used;
}

static double put_in(const struct sample_entry *entry)
{
	return (double)entry->in;
}

static double taken_out(const struct sample_entry *entry)
{
	return (double)entry->out;
}

static double lost(const struct sample_entry *entry)
{
	return (double)entry->lost;
}

static double redelivered(const struct sample_entry *entry)
{
	return (double)entry->redelivered;
}

static const struct family families[] = {
	{ "shmkit_segment_sound", "gauge", "1 if the segment can be read, 0 if it is damaged or of a newer format", up, NULL,
	  false },
	{ "shmkit_segment_size_bytes", "gauge", "Size of the segment", size_bytes, NULL, false },
	{ "shmkit_segment_used_bytes", "gauge", "Bytes given to structures, header and table included", used_bytes, NULL,
	  false },
	{ "shmkit_segment_entries", "gauge", "Structures in the segment", entries, NULL, false },
	{ "shmkit_segment_entries_max", "gauge", "Structures the segment can hold", entries_max, NULL, false },
	{ "shmkit_segment_members_alive", "gauge", "Members that are alive", alive, NULL, false },
	{ "shmkit_segment_members_dead", "gauge", "Members that died and are not cleaned up after yet", dead, NULL, false },
	{ "shmkit_segment_recoveries_total", "counter", "Dead members cleaned up after", recoveries, NULL, false },
	{ "shmkit_structure_capacity", "gauge", "Elements the structure holds at most", NULL, capacity, false },
	{ "shmkit_structure_used", "gauge", "Elements in the structure", NULL, used, false },
	{ "shmkit_structure_in_total", "counter", "Elements put into a queue or ring", NULL, put_in, true },
	{ "shmkit_structure_out_total", "counter", "Elements taken out of a queue or ring", NULL, taken_out, true },
	{ "shmkit_structure_lost_total", "counter", "Elements overwritten in a ring, or discarded with a dead producer", NULL,
	  lost, true },
	{ "shmkit_structure_redelivered_total", "counter", "Elements given back to a queue", NULL, redelivered, true },
};

/* A label's value: escaped as everywhere, and that, which may hold backslashes, as Prometheus wants it. */
static void put_label(FILE *to, const char *key, const char *text)
{
	fprintf(to, "%s=\"", key);
	for (const char *at = cli_escaped(text); *at; at++)
		fprintf(to, *at == '\\' || *at == '"' ? "\\%c" : "%c", *at);
	fputc('"', to);
}

static void put_value(FILE *to, double value)
{
	fprintf(to, "} %.17g\n", value);
}

static void put_family(FILE *to, const struct family *family, struct sample *const *samples, size_t count)
{
	fprintf(to, "# HELP %s %s\n# TYPE %s %s\n", family->name, family->help, family->name, family->type);
	for (size_t i = 0; i < count; i++) {
		const struct sample *sample = samples[i];

		if (family->of_segment) {
			if (sample->error && family->of_segment != up)
				continue;
			fprintf(to, "%s{", family->name);
			put_label(to, "segment", sample->name);
			put_value(to, family->of_segment(sample));
			continue;
		}
		for (size_t e = 0; sample->error == 0 && e < sample->entry_count; e++) {
			const struct sample_entry *entry = &sample->entries[e];

			if (family->counters && !entry->counts)
				continue;
			fprintf(to, "%s{", family->name);
			put_label(to, "segment", sample->name);
			put_label(to, ",structure", entry->info.name);
			put_label(to, ",kind", cli_kind_name(entry->info.kind));
			put_value(to, family->of_entry(entry));
		}
	}
}

static bool is_told(const struct sample *sample)
{
	return sample->error != -ENOENT && sample->error != -EACCES;
}

/* All of it, to be freed; NULL when there is no looking. */
static char *metrics(size_t *ret_size)
{
	struct found_segment *found;
	int64_t count = cli_find_segments(&found);
	struct sample **samples;
	size_t told = 0;
	char *text = NULL;
	FILE *to;

	if (count < 0)
		return NULL;
	samples = calloc((size_t)count + 1, sizeof(*samples));
	to = open_memstream(&text, ret_size);
	if (!samples || !to)
		abort();
	for (int64_t i = 0; i < count; i++) {
		samples[told] = sample_take(found[i].name);
		if (is_told(samples[told]))
			told++;
		else
			sample_free(samples[told]);
	}
	for (size_t f = 0; f < sizeof(families) / sizeof(families[0]); f++)
		put_family(to, &families[f], samples, told);
	fclose(to);
	for (size_t i = 0; i < told; i++)
		sample_free(samples[i]);
	free(samples);
	free(found);
	return text;
}

/* ---- a file ---- */

/* Whole or not at all: who reads it meanwhile finds the last one. */
static int write_file(const char *path)
{
	size_t size;
	char *text = metrics(&size), *temporary = NULL;
	int fd, result = EXIT_OPEN;

	if (!text)
		return EXIT_OPEN;
	if (asprintf(&temporary, "%s.XXXXXX", path) < 0)
		abort();
	fd = mkstemp(temporary);
	if (fd >= 0 && fchmod(fd, 0644) == 0 && write(fd, text, size) == (ssize_t)size && close(fd) == 0 &&
	    rename(temporary, path) == 0) {
		result = EXIT_YES;
	} else {
		cli_say("%s: %s", path, strerror(errno));
		if (fd >= 0)
			unlink(temporary);
	}
	free(temporary);
	free(text);
	return result;
}

/* ---- HTTP ---- */

#ifdef HAVE_MICROHTTPD

static enum MHD_Result send_text(struct MHD_Connection *connection, unsigned status, char *text, size_t size,
				 const char *type)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(size, text, MHD_RESPMEM_MUST_FREE);
	enum MHD_Result result;

	MHD_add_response_header(response, "Content-Type", type);
	result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result answer(void *context, struct MHD_Connection *connection, const char *url, const char *method,
			      const char *version, const char *upload, size_t *upload_size, void **state)
{
	size_t size = 0;
	char *text;

	(void)context;
	(void)version;
	(void)upload;
	(void)state;
	*upload_size = 0;
	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
		return send_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED, strdup("GET it\n"), 7, "text/plain");
	if (strcmp(url, "/metrics") != 0)
		return send_text(connection, MHD_HTTP_NOT_FOUND, strdup("the figures are at /metrics\n"), 28, "text/plain");
	text = metrics(&size);
	if (!text)
		return send_text(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, strdup("no\n"), 3, "text/plain");
	return send_text(connection, MHD_HTTP_OK, text, size, "text/plain; version=0.0.4; charset=utf-8");
}

/* "127.0.0.1:9100", "[::1]:9100", ":9100" */
static bool parse_address(const char *text, struct sockaddr_storage *ret_address)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV };
	const char *colon = strrchr(text, ':');
	struct addrinfo *found;
	char host[80];
	int result;

	if (!colon || (size_t)(colon - text) >= sizeof(host)) {
		cli_usage("--listen: '%s' is no ADDRESS:PORT", text);
		return false;
	}
	snprintf(host, sizeof(host), "%.*s", (int)(colon - text), text);
	if (host[0] == '[' && host[strlen(host) - 1] == ']') {
		host[strlen(host) - 1] = 0;
		memmove(host, host + 1, strlen(host));
	}
	result = getaddrinfo(host[0] ? host : NULL, colon + 1, &hints, &found);
	if (result) {
		cli_usage("--listen: '%s': %s", text, gai_strerror(result));
		return false;
	}
	memcpy(ret_address, found->ai_addr, found->ai_addrlen);
	freeaddrinfo(found);
	return true;
}

static int serve(const char *text)
{
	struct sockaddr_storage address = { 0 };
	struct MHD_Daemon *daemon;
	sigset_t signals;
	unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_AUTO;
	int signal;

	if (!parse_address(text, &address))
		return EXIT_USAGE;
	if (address.ss_family == AF_INET6)
		flags |= MHD_USE_IPv6;
	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	/* one at a time: each looks at everything */
	daemon = MHD_start_daemon(flags, 0, NULL, NULL, answer, NULL, MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&address,
				  MHD_OPTION_CONNECTION_TIMEOUT, 10u, MHD_OPTION_CONNECTION_LIMIT, 16u, MHD_OPTION_END);
	if (!daemon) {
		cli_say("cannot listen on %s: %s", text, strerror(errno));
		return EXIT_OPEN;
	}
	cli_say("the figures are at http://%s/metrics", text);
	sigwait(&signals, &signal);
	MHD_stop_daemon(daemon);
	return EXIT_YES;
}

#else

static int serve(const char *text)
{
	(void)text;
	return cli_usage("this shmkit was built without libmicrohttpd, and cannot listen; --file writes a file");
}

#endif

/* ---- the command ---- */

static const char *listen_on, *file_path;

enum { OPTION_PROMETHEUS = OPTION_LONG, OPTION_LISTEN, OPTION_FILE };

static bool export_option(int option, char *argument)
{
	if (option == OPTION_LISTEN)
		listen_on = argument;
	else if (option == OPTION_FILE)
		file_path = argument;
	return true;
}

static int run_export(int argc, char **argv)
{
	static const struct option options[] = {
		{ "prometheus", no_argument, NULL, OPTION_PROMETHEUS },
		{ "listen", required_argument, NULL, OPTION_LISTEN },
		{ "file", required_argument, NULL, OPTION_FILE },
		{ NULL, 0, NULL, 0 },
	};
	size_t size;
	char *text;
	int first;

	CLI_OPTIONS(first, argc, argv, commands_export, options, "", export_option);
	if (first != argc || (listen_on && file_path))
		return cli_usage("it takes no arguments, and --listen or --file, not both");
	if (listen_on)
		return serve(listen_on);
	if (file_path)
		return write_file(file_path);
	text = metrics(&size);
	if (!text)
		return EXIT_OPEN;
	fwrite(text, 1, size, stdout);
	free(text);
	return EXIT_YES;
}

const struct command commands_export[] = {
	{ "export", "--prometheus [--listen ADDRESS:PORT|--file FILE]", "Tell Prometheus the figures of every segment",
	  run_export },
	{ .name = NULL },
};
