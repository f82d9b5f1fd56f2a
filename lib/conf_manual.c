/* The manual pages of the configuration file and of the two daemons. Sections and options come from the table of
 * options.h, arguments from that of conf_arguments.c. */
#include "conf_priv.h"
#include "manual.h"

/* ---- imapferry.conf(5) */

static const char *const how_written[] = {
    "imapferry-proxy(8), imapferry-migrator(8) and imapferryctl(8) read one file, the same on all hosts, and each uses what "
    "concerns it. It consists of sections; an option is a name, \"=\" and a value. \"#\" begins a comment.",
    "A string stands in quotes, a list in braces with commas between its strings; a single string is a list, too. A number "
    "is plain, a switch is true or false, a duration is 500ms, 10s, 10m, 24h or 7d, in quotes.",
    "What can't be understood is an error that names file, line, section and option, and so is a name that is not known, a "
    "section or option that stands twice, and a file whose end is missing. Check a file with --check-conf of each program.",
    "On SIGHUP, proxies and migrators read the file anew, and take what is marked [SIGHUP], and the certificates, keys and "
    "passwords in the files named there, without a restart. What else was changed is named in the log. Where the file has an "
    "error, all stays as it was.",
};

static void conf_manual_option(struct buf *out, const struct option *o)
{
    static const char *const types[] = {
        [OPTION_STRING] = "string", [OPTION_LIST] = "list",         [OPTION_BOOL] = "switch",
        [OPTION_NUMBER] = "number", [OPTION_DURATION] = "duration", [OPTION_ENUM] = "word",
    };
    struct buf text = {0};

    buf_add_str(&text, o->text);
    for (size_t i = 0; o->words && o->words[i]; i++)
        buf_printf(&text, "%s%s", i ? ", " : " One of: ", o->words[i]);
    if (o->words)
        buf_add_str(&text, ".");
    conf_write_bounds(&text, o, true);
    manual_item(out, o->name, types[o->type], buf_str(&text));
    buf_free(&text);
}

static void conf_manual_section(struct buf *out, const struct section *s)
{
    struct buf head = {0};

    buf_printf(&head, s->titles ? "%s \"%s\"" : "%s", s->name, s->titles ? s->titles[0] : "");
    manual_subsection(out, buf_str(&head));
    manual_paragraph(out, s->text);
    for (size_t i = 0; i < n_options; i++)
        if (!strcmp(options[i].section, s->name))
            conf_manual_option(out, &options[i]);
    buf_free(&head);
}

void conf_print_manual(struct buf *out)
{
    manual_begin(out, "imapferry.conf", 5, "the configuration of imapferry");
    manual_section(out, "DESCRIPTION");
    for (size_t i = 0; i < COUNTOF(how_written); i++)
        manual_paragraph(out, how_written[i]);
    manual_section(out, "SECTIONS AND OPTIONS");
    for (size_t i = 0; i < n_sections; i++)
        conf_manual_section(out, &sections[i]);
    manual_section(out, "FILES");
    manual_item(out, CONF_DEFAULT_FILE, "", "Where the programs look without -c.");
    manual_see_also(out, "imapferry-proxy(8), imapferry-migrator(8), imapferryctl(8)");
}

/* ---- the daemons */

static const struct daemon_page {
    enum conf_role role;
    const char *name, *purpose;
    const char *about[4];
    const char *term; /* what SIGTERM does */
    const char *see_also;
} daemon_pages[] = {
    {CONF_PROXY,
     "imapferry-proxy",
     "signs mail clients in at the server that holds their mail",
     {"Takes IMAP connections as the listeners of the section proxy say, asks Redis on which server an account lives, signs "
      "the user in there with their own credentials, and relays. A login begins the migration of an account where "
      "migration.trigger is login. While an account is switched over its sessions rest for some milliseconds, and go on at "
      "the other server.",
      "Any number of proxies run side by side; they share nothing but Redis. One has an id (proxy.id), and no other process "
      "has the same.",
      "It stays in the foreground, logs to standard error, one event a line as key=value, and tells a service manager that "
      "asks (NOTIFY_SOCKET) that it is ready, reloads, stops, and still lives (WATCHDOG_USEC). It takes listeners from "
      "socket activation, and with proxy.upgrade_socket a new process takes them over from the one that runs."},
     "Drains: no new connections, commands under way end, and the sessions' good-byes are spread over proxy.drain_time. A "
     "second one ends at once.",
     "imapferry.conf(5), imapferry-migrator(8), imapferryctl(8)"},
    {CONF_MIGRATOR,
     "imapferry-migrator",
     "copies mail accounts, proves the copies, and switches the accounts over",
     {"Takes the accounts that logins and staff have queued in Redis, copies each to the other server, reads the copy back and "
      "compares it, and switches the account over as migration.cutover says. The server that is left is only read. What can't "
      "be copied as it was stops the switch-over until somebody waives it.",
      "Any number of migrators run side by side; what one leaves behind that died, another goes on with. One has an id "
      "(migrator.id), and no other process has the same.",
      "It stays in the foreground, logs to standard error, one event a line as key=value, and tells a service manager that "
      "asks (NOTIFY_SOCKET) that it is ready, reloads, stops, and still lives (WATCHDOG_USEC)."},
     "Ends what can be ended safely, gives its jobs to others, and is gone within eight seconds. A second one ends at once.",
     "imapferry.conf(5), imapferry-proxy(8), imapferryctl(8)"},
};

static void conf_manual_argument(void *owner, const char *name, const char *value, const char *text)
{
    manual_item(owner, name, value, text);
}

void conf_print_manual_arguments(struct buf *out)
{
    conf_each_argument(conf_manual_argument, out);
}

static void conf_manual_synopsis(void *owner, const char *name, const char *value, const char *text)
{
    (void)text;
    buf_printf(owner, " [%s%s%s]", name, *value ? " " : "", value);
}

static void conf_manual_daemon(struct buf *out, const struct daemon_page *page)
{
    struct buf arguments = {0};

    manual_begin(out, page->name, 8, page->purpose);
    manual_section(out, "SYNOPSIS");
    conf_each_argument(conf_manual_synopsis, &arguments);
    manual_synopsis(out, page->name, buf_str(&arguments) + 1);
    manual_section(out, "DESCRIPTION");
    for (size_t i = 0; i < COUNTOF(page->about) && page->about[i]; i++)
        manual_paragraph(out, page->about[i]);
    manual_section(out, "OPTIONS");
    conf_print_manual_arguments(out);
    manual_section(out, "SIGNALS");
    manual_item(out, "SIGTERM, SIGINT", "", page->term);
    manual_item(
        out, "SIGHUP", "",
        "Reads the configuration anew, with the certificates, keys and passwords that it names: what is marked "
        "[SIGHUP] in imapferry.conf(5) is taken, and all stays as it was where something is wrong.");
    manual_section(out, "EXIT STATUS");
    manual_item(out, "0", "", "It was asked to end, or what was asked for is printed.");
    manual_item(out, "1", "",
                "Something is wrong with the configuration, or keeps it from starting; the log says what.");
    manual_item(out, "2", "", "It was called with arguments that it does not know.");
    manual_section(out, "FILES");
    manual_item(out, CONF_DEFAULT_FILE, "", "The configuration, where -c does not name another one.");
    manual_see_also(out, page->see_also);
    buf_free(&arguments);
}

void conf_print_manual_of(struct buf *out, enum conf_role role)
{
    for (size_t i = 0; i < COUNTOF(daemon_pages); i++)
        if (daemon_pages[i].role == role)
            conf_manual_daemon(out, &daemon_pages[i]);
}
