"""Which cases `make check` leaves to `make check-long`: more servers, more seeds, or more moments of what another case of
the same test shows already; and in which order files are run. By file and test, as a pattern of the parameters."""
import re

LONG = {
    "test_deposit": {"test_disturbed_at_each_step_it_ends_in_the_same_account": "kill_at_the_ledger|reset"},
    "test_faults": {"test_cut_overs_under_load_with_a_fault_each": "alike|fillers",
                    "test_cut_overs_to_a_cyrus_and_from_one": "map from Cyrus"},
    "test_foreign": {"test_killed_between_two_steps": "cyrus"},
    "test_numbers": {"test_long_gap_by_several_appends": "mdbox|single|courier|from_cyrus|from_courier",
                     "test_every_gap_is_filled": "mdbox|single"},
    "test_numbers_mistakes": {"test_dovecot": "another-ca|http-for-https|closed-port"},
    "test_qresync": {"test_what_others_changed": "T0"},
    "test_qresync_moved": {"test_way_back_in_the_middle": "T1|T2-SELECT-UID"},
    "test_tiers": {"test_channel_that_does_it_after_the_flip": "minNextUid"},
    "test_upgrade": {"test_the_new_one_is_killed": "hello", "test_the_old_one_is_killed": "again|id"},
    "test_view_clients": {"test_nothing_is_transferred_again": "UIDPLUS|Courier|Cyrus-Dovecot",
                          "test_mail_programs_are_at_work_during_the_move": "UIDPLUS"},
    "test_view_hostile": {"test_a_backend_that_sends_what_it_likes": "1"},
}


# Files that take the longest begin first, so that no runner has one left when the others are done.
FIRST = ("test_faults", "test_tiers", "test_logins", "test_qresync", "test_numbers", "test_foreign", "test_view_clients", "test_deposit",
         "test_view", "test_numbers_mistakes", "test_odd_answers", "test_freeze", "test_late", "test_handover", "test_sentinel", "test_crash",
         "test_proxies", "test_engine", "test_kill_migrator", "test_demo", "test_view_hostile", "test_view_job", "test_view_differential")


def place(file):
    return FIRST.index(file) if file in FIRST else len(FIRST)


def is_long(file, test, parameters):
    """parameters: as pytest names the case, without brackets."""
    return any(test.startswith(name) and re.search(rf"(?:^|-)(?:{pattern})", parameters)
               for name, pattern in LONG.get(file, {}).items())
