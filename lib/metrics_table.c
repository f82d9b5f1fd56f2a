/* The metrics, in the order of enum metric. A new row needs its line in conf/METRICS.md (--print-metrics), and names that
 * `promtool check metrics` takes: base units, _total behind what only grows. */
#include "metrics.h"

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define MS         ((uint64_t)1000)
#define S          (1000 * MS)

/* Of what Redis does, in parts of a millisecond; of what a person waits for; of a standstill. */
static const uint64_t redis_bounds[] = {250,     500,      MS,       2 * MS,   5 * MS, 10 * MS, 25 * MS,
                                        50 * MS, 100 * MS, 250 * MS, 500 * MS, S,      5 * S,   0};
static const uint64_t login_bounds[] = {5 * MS, 10 * MS, 25 * MS, 50 * MS, 100 * MS, 250 * MS, 500 * MS,
                                        1 * S,  2 * S,   5 * S,   10 * S,  30 * S,   60 * S,   0};
static const uint64_t freeze_bounds[] = {25 * MS, 50 * MS, 100 * MS, 250 * MS, 500 * MS, S,       2 * S,
                                         5 * S,   10 * S,  30 * S,   60 * S,   120 * S,  300 * S, 0};

const struct metric_row metric_rows[METRIC_COUNT] = {
    [METRIC_BUILD] = {"imapferry_build_info",
                      METRIC_GAUGE,
                      METRIC_NUMBER,
                      METRIC_OF_BOTH,
                      {"version"},
                      .help = "Always 1; the label is the version of the program."},
    [METRIC_CPU] = {"process_cpu_seconds_total", METRIC_COUNTER, METRIC_SECONDS, METRIC_OF_BOTH,
                    .help = "Processor time of the process, of all threads, in user and kernel mode."},
    [METRIC_START] = {"process_start_time_seconds", METRIC_GAUGE, METRIC_SECONDS, METRIC_OF_BOTH,
                      .help = "When the process began, in seconds since 1970."},
    [METRIC_LOG_LINES] = {"imapferry_log_lines_total",
                          METRIC_COUNTER,
                          METRIC_NUMBER,
                          METRIC_OF_BOTH,
                          {"level"},
                          WORDS("error", "warn", "info", "debug"),
                          .help = "Lines written to the log."},
    [METRIC_STORE_UP] =
        {"imapferry_store_up",
         METRIC_GAUGE,
         METRIC_NUMBER,
         METRIC_OF_BOTH,
         {"store"},
         .help =
             "Whether every thread reaches Redis, and it holds the store of this site (1), or not (0); by the store's number "
             "in `url`, from 1."},
    [METRIC_REDIS_CALLS] = {"imapferry_redis_calls_total",
                            METRIC_COUNTER,
                            METRIC_NUMBER,
                            METRIC_OF_BOTH,
                            {"result"},
                            WORDS("ok", "error", "lost"),
                            .help =
                                "Calls to Redis: answered, answered with an error, or without an answer."},
    [METRIC_REDIS_DURATION] =
        {"imapferry_redis_call_duration_seconds", METRIC_HISTOGRAM, METRIC_SECONDS, METRIC_OF_BOTH,
         .bounds = redis_bounds,
         .help = "Time from a call to the answer of Redis; calls that are meant to wait are left out."},
    [METRIC_BACKEND_SIGNINS] =
        {"imapferry_backend_signins_total",
         METRIC_COUNTER,
         METRIC_NUMBER,
         METRIC_OF_BOTH,
         {"backend", "result"},
         .help = "Sign-ins at a backend: ok, refused, unavailable, insecure, no_mechanism."},
    [METRIC_BACKEND_SIGNIN_DURATION] =
        {"imapferry_backend_signin_duration_seconds",
         METRIC_HISTOGRAM,
         METRIC_SECONDS,
         METRIC_OF_BOTH,
         {"backend"},
         .bounds = login_bounds,
         .help = "Time of sign-ins at a backend that succeeded, from the connection on."},
    [METRIC_BACKEND_DEAD_ADDRESSES] =
        {"imapferry_backend_dead_addresses",
         METRIC_GAUGE,
         METRIC_NUMBER,
         METRIC_OF_BOTH,
         {"backend"},
         .help = "Addresses of a backend that do not answer, summed over the threads that have found out."},
    [METRIC_THAWS] =
        {"imapferry_thaws_total",
         METRIC_COUNTER,
         METRIC_NUMBER,
         METRIC_OF_BOTH,
         {"reason"},
         .help =
             "Accounts that were not switched over but went on as before, by the first word of the reason; by a proxy: deadline."},
    [METRIC_READY] = {"imapferry_ready", METRIC_GAUGE, METRIC_NUMBER, METRIC_OF_BOTH,
                      .help =
                          "Whether /readyz says that the program does its work (1), or why it does not (0)."},
    /* ---- the proxy */
    [METRIC_CONNECTIONS] = {"imapferry_connections_total", METRIC_COUNTER, METRIC_NUMBER, METRIC_OF_PROXY,
                            .help = "Connections that were taken from clients."},
    [METRIC_SESSIONS] =
        {"imapferry_sessions",
         METRIC_GAUGE,
         METRIC_NUMBER,
         METRIC_OF_PROXY,
         {"state"},
         .help =
             "Connections of clients by what they wait for: signed in are relay, frozen and handover (proxy/session.h has the table)."},
    [METRIC_SESSION_ENDS] = {"imapferry_sessions_ended_total",
                             METRIC_COUNTER,
                             METRIC_NUMBER,
                             METRIC_OF_PROXY,
                             {"why"},
                             .help =
                                 "Connections of clients that ended, by the why of session_end in the log."},
    [METRIC_SESSION_BYTES] = {"imapferry_session_bytes_total",
                              METRIC_COUNTER,
                              METRIC_NUMBER,
                              METRIC_OF_PROXY,
                              {"direction"},
                              WORDS("in", "out"),
                              .help = "Bytes passed on behind a login: in from clients, out to clients."},
    [METRIC_LOGINS] =
        {"imapferry_logins_total",
         METRIC_COUNTER,
         METRIC_NUMBER,
         METRIC_OF_PROXY,
         {"result"},
         WORDS("ok", "refused", "limit", "unavailable", "gone"),
         .help =
             "Logins: let in, refused by the server, over a limit, not possible for a reason that is not the user's, or of a client that has gone before its outcome."},
    [METRIC_LOGIN_DURATION] =
        {"imapferry_login_duration_seconds",
         METRIC_HISTOGRAM,
         METRIC_SECONDS,
         METRIC_OF_PROXY,
         {"result"},
         WORDS("ok", "refused", "limit", "unavailable", "gone"),
         .bounds = login_bounds,
         .help =
             "Time from the login's command to its outcome, delays that are meant for who guesses included."},
    [METRIC_BREAKERS_OPEN] =
        {"imapferry_backend_open_breakers",
         METRIC_GAUGE,
         METRIC_NUMBER,
         METRIC_OF_PROXY,
         {"backend"},
         .help =
             "Threads that refuse logins at once, since none of the backend's addresses answers; 0: it is up."},
    [METRIC_BREAKER_OPENINGS] =
        {"imapferry_breaker_openings_total",
         METRIC_COUNTER,
         METRIC_NUMBER,
         METRIC_OF_PROXY,
         {"backend"},
         .help = "How often a thread found that no address of a backend answers (breaker_open in the log)."},
    [METRIC_LOGINS_AT_ONCE] =
        {"imapferry_logins_refused_at_once_total",
         METRIC_COUNTER,
         METRIC_NUMBER,
         METRIC_OF_PROXY,
         {"backend"},
         .help = "Logins that were refused without a try, since no address of the backend answers."},
    [METRIC_SESSION_FREEZE] =
        {"imapferry_session_freeze_duration_seconds",
         METRIC_HISTOGRAM,
         METRIC_SECONDS,
         METRIC_OF_PROXY,
         {"result"},
         WORDS("moved", "thawed", "ended"),
         .bounds = freeze_bounds,
         .help =
             "How long open sessions stood still in a switch-over: until they went on at the new server, at the old one, or ended."},
    [METRIC_HANDOVERS] =
        {"imapferry_handovers_total",
         METRIC_COUNTER,
         METRIC_NUMBER,
         METRIC_OF_PROXY,
         {"result", "why"},
         .help =
             "Open sessions over a switch-over: moved, thawed (went on at a connection that was made anew), or ended and why (not_handed_over in the log)."},
    [METRIC_HANDOVER_DURATION] =
        {"imapferry_handover_duration_seconds", METRIC_HISTOGRAM, METRIC_SECONDS, METRIC_OF_PROXY,
         .bounds = freeze_bounds,
         .help = "Time from the end of a freeze until a session goes on over another connection."},
    [METRIC_LEASE_LAPSES] =
        {"imapferry_lease_lapses_total", METRIC_COUNTER, METRIC_NUMBER, METRIC_OF_PROXY,
         .help =
             "How often a thread could not renew its lease in time: sessions of accounts that are being moved stand still then."},
    /* ---- the migrator */
    [METRIC_DELIVERY_LOOKUPS] =
        {"imapferry_delivery_lookups_total",
         METRIC_COUNTER,
         METRIC_NUMBER,
         METRIC_OF_PROXY,
         {"result"},
         WORDS("ok", "notfound", "temp", "perm"),
         .help =
             "Questions of mail servers where mail goes (socketmap): told a server, no account of ours, to be asked again later, or not understood."},
    [METRIC_DELIVERY_CLIENTS] = {"imapferry_delivery_connections", METRIC_GAUGE, METRIC_NUMBER,
                                 METRIC_OF_PROXY,
                                 .help = "Connections of mail servers that ask where mail goes (socketmap)."},
    [METRIC_LMTP_CONNECTIONS] = {"imapferry_lmtp_connections_total", METRIC_COUNTER, METRIC_NUMBER,
                                 METRIC_OF_PROXY,
                                 .help = "Connections of mail servers that deliver by LMTP."},
    [METRIC_LMTP_RECIPIENTS] =
        {"imapferry_lmtp_recipients_total",
         METRIC_COUNTER,
         METRIC_NUMBER,
         METRIC_OF_PROXY,
         {"result"},
         WORDS("delivered", "deferred", "refused"),
         .help =
             "Recipients of mail by LMTP: taken by a server, to be tried again (4yz), or refused for good (5yz)."},
    [METRIC_LMTP_HOLD] =
        {"imapferry_lmtp_hold_duration_seconds", METRIC_HISTOGRAM, METRIC_SECONDS, METRIC_OF_PROXY,
         .bounds = freeze_bounds,
         .help = "Time for which a recipient's RCPT was held, since its account was being switched over."},
    [METRIC_ACCOUNTS] =
        {"imapferry_accounts",
         METRIC_GAUGE,
         METRIC_NUMBER,
         METRIC_OF_MIGRATOR,
         {"state"},
         .help =
             "Accounts of the whole site with a record, by state; every migrator tells the same, read from Redis each 15 s."},
    [METRIC_ACCOUNTS_AT] =
        {"imapferry_accounts_at_backend",
         METRIC_GAUGE,
         METRIC_NUMBER,
         METRIC_OF_MIGRATOR,
         {"backend"},
         .help = "Accounts of the whole site with a record, by the backend on which they live; as above."},
    [METRIC_PAUSED] =
        {"imapferry_migrations_paused", METRIC_GAUGE, METRIC_NUMBER, METRIC_OF_MIGRATOR,
         .help = "Whether all migrations are paused, by staff or by the automatic stop (1), or not (0)."},
    [METRIC_JOBS_RUNNING] = {"imapferry_jobs_running",
                             METRIC_GAUGE,
                             METRIC_NUMBER,
                             METRIC_OF_MIGRATOR,
                             {"state"},
                             .help =
                                 "Jobs of this migrator by what they do (migrator/job/job.h has the table)."},
    [METRIC_JOBS] =
        {"imapferry_jobs_total",
         METRIC_COUNTER,
         METRIC_NUMBER,
         METRIC_OF_MIGRATOR,
         {"result"},
         WORDS("flipped", "waits", "backoff", "blocked", "later", "stopped", "lost"),
         .help =
             "Jobs that ended: flipped, ready and waiting for its time or for staff, tried again later, in need of a person, held up by a pause, given to another migrator, or not its own any more."},
    [METRIC_FREEZES] = {"imapferry_freeze_duration_seconds",
                        METRIC_HISTOGRAM,
                        METRIC_SECONDS,
                        METRIC_OF_MIGRATOR,
                        {"result"},
                        WORDS("flipped", "thawed"),
                        .bounds = freeze_bounds,
                        .help = "How long accounts stood still in attempts to switch them over."},
    [METRIC_FLIPS] = {"imapferry_flips_total",
                      METRIC_COUNTER,
                      METRIC_NUMBER,
                      METRIC_OF_MIGRATOR,
                      {"source", "target"},
                      .help = "Accounts switched over, by the backends that they left and went to."},
    [METRIC_MESSAGES_COPIED] = {"imapferry_messages_copied_total", METRIC_COUNTER, METRIC_NUMBER,
                                METRIC_OF_MIGRATOR, .help = "Messages that a target has taken."},
    [METRIC_BYTES_COPIED] = {"imapferry_copied_bytes_total", METRIC_COUNTER, METRIC_NUMBER,
                             METRIC_OF_MIGRATOR, .help = "Bytes of the messages that a target has taken."},
    [METRIC_MESSAGES_VERIFIED] =
        {"imapferry_messages_verified_total", METRIC_COUNTER, METRIC_NUMBER, METRIC_OF_MIGRATOR,
         .help =
             "Messages read back from a target and found equal, as far as migration.verify compares them."},
    [METRIC_BYTES_VERIFIED] = {"imapferry_verified_bytes_total", METRIC_COUNTER, METRIC_NUMBER,
                               METRIC_OF_MIGRATOR, .help = "Bytes of these messages."},
    [METRIC_FINDINGS] =
        {"imapferry_differences_total",
         METRIC_COUNTER,
         METRIC_NUMBER,
         METRIC_OF_MIGRATOR,
         {"kind"},
         .help =
             "Differences that passes have found, by kind (imapferryctl user NAME --report); each kind once a job."},
    [METRIC_LATE_LOOKS] = {"imapferry_late_looks_total",
                           METRIC_COUNTER,
                           METRIC_NUMBER,
                           METRIC_OF_MIGRATOR,
                           {"result"},
                           WORDS("nothing", "copied", "failed"),
                           .help = "Looks at servers that accounts have left."},
    [METRIC_LATE_ARRIVALS] =
        {"imapferry_late_arrivals_total", METRIC_COUNTER, METRIC_NUMBER, METRIC_OF_MIGRATOR,
         .help = "Messages that arrived on a server after the account had left it, and were brought over."},
};
