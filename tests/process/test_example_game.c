/*
 * The game, as a user runs it: server, AI and analytics as separate programs.
 *
 * Each program compares at the end what it counted with what the shared structures hold, and exits
 * with 1 where something does not add up. Here: every order of starting, and the death of each.
 */
#include "example.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const example_name = "game";

#define SERVER_PASS    "game_server: PASS, everything adds up"
#define AI_PASS        "ai_system: PASS, monsters, grid and requests add up"
#define ANALYTICS_PASS "analytics: PASS, frames, scores and messages add up"

static struct child start_server(const char *name, const char *clients, const char *seconds)
{
	return example_start("game_server", "--segment", name, "--clients", clients, "--seconds",
			     seconds, NULL);
}

static struct child start_ai(const char *name)
{
	return example_start("ai_system", "--segment", name, NULL);
}

static struct child start_analytics(const char *name)
{
	return example_start("analytics", "--segment", name, "--interval-ms", "200", NULL);
}

static void expect_layout(const char *text)
{
	static const char *const names[] = {
		"players", "monsters", "projectiles", "collision", "damage_queue", "spawn_queue",
		"network_queue", "frame_stats", "tick", "players_online", "match_active",
		"leaderboard",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_non_null(strstr(text, names[i]));
	assert_non_null(strstr(text, "500.0 MiB"));
}

/* "  1. Name   score": at least three of them, the best first. */
static void expect_leaderboard(const char *text)
{
	const char *line = strstr(text, "Top players:\n");
	unsigned previous = UINT32_MAX;
	unsigned place, score;
	char name[32];
	int places = 0;

	assert_non_null(line);
	while ((line = strchr(line, '\n')) != NULL &&
	       sscanf(++line, "%u. %31s %u", &place, name, &score) == 3) {
		assert_int_equal(place, ++places);
		assert_true(score > 0 && score <= previous);
		previous = score;
	}
	assert_true(places >= 3);
}

static void test_server_first_everything_adds_up(void **state)
{
	const char *name = test_name("game-server-first");
	struct child server = start_server(name, "2", "2");
	struct child ai, analytics;
	char *text;

	(void)state;
	example_wait_for_segment(name);
	ai = start_ai(name);
	analytics = start_analytics(name);
	example_expect_success(server, SERVER_PASS, &text);
	expect_layout(text);
	assert_non_null(strstr(text, "frames    120\n"));
	assert_null(strstr(text, "requests  0 spawned"));
	free(text);
	example_expect_success(ai, AI_PASS, NULL);
	example_expect_success(analytics, ANALYTICS_PASS, &text);
	expect_leaderboard(text);
	free(text);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_clients_first_everything_adds_up(void **state)
{
	const char *name = test_name("game-clients-first");
	struct child ai = start_ai(name);
	struct child analytics = start_analytics(name);
	struct child server;

	(void)state;
	test_sleep_ms(50);
	server = start_server(name, "2", "1");
	example_expect_success(server, SERVER_PASS, NULL);
	example_expect_success(ai, AI_PASS, NULL);
	example_expect_success(analytics, ANALYTICS_PASS, NULL);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_clients_come_and_go_everything_adds_up(void **state)
{
	const char *name = test_name("game-late");
	struct child server = start_server(name, "0", "2");
	struct child analytics[2], ai;

	(void)state;
	test_sleep_ms(300);
	analytics[0] = start_analytics(name);
	test_sleep_ms(300);
	ai = start_ai(name);
	analytics[1] = start_analytics(name);
	example_expect_success(server, SERVER_PASS, NULL);
	example_expect_success(ai, AI_PASS, NULL);
	for (int i = 0; i < 2; i++)
		example_expect_success(analytics[i], ANALYTICS_PASS, NULL);
	assert_int_equal(test_shm_leftovers(name), 0);
}

/* Crowded: the pools and the queue of requests get full, and that has to add up, too. */
static void test_full_pools_everything_adds_up(void **state)
{
	const char *name = test_name("game-full");
	struct child server =
		example_start("game_server", "--segment", name, "--clients", "2", "--seconds", "1",
			      "--players", "100", "--monsters", "1000", NULL);
	struct child ai = start_ai(name);
	struct child analytics = start_analytics(name);
	char *text;

	(void)state;
	example_expect_success(server, SERVER_PASS, &text);
	assert_null(strstr(text, " 0 rejected"));
	free(text);
	example_expect_success(ai, AI_PASS, NULL);
	example_expect_success(analytics, ANALYTICS_PASS, NULL);
	assert_int_equal(test_shm_leftovers(name), 0);
}

/* 2 MiB of shared memory are too little for the 500 MiB asked for, and enough for the game. */
static void test_little_memory_smaller_segment(void **state)
{
	const char *const probe[] = { "unshare", "-rm", "true", NULL };
	const char *argv[] = { "unshare", "-rm", "sh", "-c",
			       "mount -t tmpfs -o size=2m none /dev/shm && exec \"$0\" -d 1", NULL,
			       NULL };
	char *text;
	int status;

	(void)state;
	text = test_run("unshare", probe, &status, EXAMPLE_TIMEOUT_MS);
	free(text);
	if (status != 0)
		skip();
	argv[5] = example_path("game_server");
	text = test_run("unshare", argv, &status, EXAMPLE_TIMEOUT_MS);
	assert_int_equal(status, 0);
	assert_non_null(strstr(text, "trying again with "));
	assert_non_null(strstr(text, SERVER_PASS));
	free(text);
}

static void test_analytics_killed_match_goes_on(void **state)
{
	const char *name = test_name("game-analytics-killed");
	struct child server = start_server(name, "2", "1");
	struct child ai = start_ai(name);
	struct child analytics = start_analytics(name);

	(void)state;
	test_sleep_ms(500);
	example_kill(analytics);
	example_expect_success(server, SERVER_PASS, NULL);
	example_expect_success(ai, AI_PASS, NULL);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_ai_killed_match_goes_on(void **state)
{
	const char *name = test_name("game-ai-killed");
	struct child server = start_server(name, "2", "1");
	struct child ai = start_ai(name);
	struct child analytics = start_analytics(name);

	(void)state;
	test_sleep_ms(500);
	example_kill(ai);
	example_expect_success(server, SERVER_PASS, NULL);
	example_expect_success(analytics, ANALYTICS_PASS, NULL);
	assert_int_equal(test_shm_leftovers(name), 0);
}

/* The next server waits until the clients of the dead one have noticed and gone. */
static void test_server_killed_clients_notice(void **state)
{
	const char *name = test_name("game-server-killed");
	struct child server = start_server(name, "2", "60");
	struct child ai = start_ai(name);
	struct child analytics = start_analytics(name);

	(void)state;
	test_sleep_ms(500);
	example_kill(server);
	server = start_server(name, "0", "1");
	assert_int_equal(example_finish(ai, NULL), 1);
	assert_int_equal(example_finish(analytics, NULL), 1);
	example_expect_success(server, SERVER_PASS, NULL);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_all_killed_next_server_starts_afresh(void **state)
{
	const char *name = test_name("game-all-killed");
	struct child server = start_server(name, "1", "60");
	struct child ai = start_ai(name);

	(void)state;
	test_sleep_ms(300);
	example_kill(server);
	example_kill(ai);
	ai = start_ai(name);
	example_expect_success(start_server(name, "1", "1"), SERVER_PASS, NULL);
	example_expect_success(ai, AI_PASS, NULL);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_wrong_usage_is_explained(void **state)
{
	(void)state;
	example_expect_answer("game_server", "--help", 0, "Usage: game_server");
	example_expect_answer("ai_system", "--help", 0, "Usage: ai_system");
	example_expect_answer("analytics", "--help", 0, "Usage: analytics");
	example_expect_answer("game_server", "--players=101", 2, "--players 101: too large");
	example_expect_answer("game_server", "--seconds=soon", 2, "--seconds soon: invalid");
	example_expect_answer("analytics", "--interval-ms=1", 2, "--interval-ms 1: too small");
	example_expect_answer("ai_system", "--no-such-option", 2, "Usage: ai_system");
	example_expect_answer("ai_system", "surplus", 2, "unexpected argument 'surplus'");
	example_expect_answer("game_server", "--segment=a/b", 1, "a/b");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_server_first_everything_adds_up),
		cmocka_unit_test(test_clients_first_everything_adds_up),
		cmocka_unit_test(test_clients_come_and_go_everything_adds_up),
		cmocka_unit_test(test_full_pools_everything_adds_up),
		cmocka_unit_test(test_little_memory_smaller_segment),
		cmocka_unit_test(test_analytics_killed_match_goes_on),
		cmocka_unit_test(test_ai_killed_match_goes_on),
		cmocka_unit_test(test_server_killed_clients_notice),
		cmocka_unit_test(test_all_killed_next_server_starts_afresh),
		cmocka_unit_test(test_wrong_usage_is_explained),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
