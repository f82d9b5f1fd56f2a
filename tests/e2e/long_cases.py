"""Which cases `make check` leaves to `make check-long`: more servers, more seeds, or more moments of what another case of
the same test shows already, or a case that a comment names; and in which order files are run. By file and test, as a pattern of
the parameters."""
import re

LONG = {
    # Two thousand stay.
    "test_big_account": {"test_thirty_thousand_messages_take_little_more_than_a_thousand": ""},
    "test_cases_account": {"test_account_with_every_oddity_arrives_but_for_what_is_named": "Cyrus-Dovecot"},
    "test_certificates": {"test_a_hundred_certificates": ""},
    # What Debian's package is made of, and check-deb looks at.
    "test_cluster": {"test_failover_of_a_node_is_one_of_its_partitions": "asked", "test_half_of_a_slot_is_not_taken_for_all_of_it": "stable|away",
                     "test_slot_that_moves_in_a_cut_over": "freeze", "test_what_nodes_are_called": "IPv6|name$",
                     "test_receiver_without_slots_that_is_gone_with_half_of_one": "followed",
                     "test_node_that_says_what_is_not_so": r"MOVED 9|refused|DOWN|too great|answers1[12578]|another node"},
    "test_crash": {"test_release_has_no_points": ""},
    "test_cut_host": {"test_an_append_in_a_kernel_that_was_cut_off_does_not_arrive": "killed|stopped"},
    "test_deposit": {"test_disturbed_at_each_step_it_ends_in_the_same_account": "kill_at_the_ledger|reset|cut"},
    "test_faults": {"test_cut_overs_of_accounts_in_several_stores": "several-nothing|several-fail_over|cluster-cut_off|cluster-fail_over",
                    "test_cut_overs_under_load_with_a_fault_each": "alike|fillers|map",
                    "test_cut_overs_to_a_cyrus_and_from_one": "map from Cyrus"},
    "test_foreign": {"test_killed_between_two_steps": "cyrus", "test_it_is_moved_behind_the_copies_before_the_flip": "from_cyrus"},
    "test_groups": {"test_killed_at_each_gate": r"script\.(?:gather|prepare|rested|flipped|.*sent|freeze\.answered:2|flip\.answered:[12])|journal\.answered",
                    "test_failover_at_each_gate": r"kill|journal|script\.(?!flip\.sent)"},
    "test_kill_migrator": {"test_kill_and_go_on": r"up-0\.[257]|down-0\.44"},
    "test_groups_asleep": {"test_asleep_at_each_gate": r"script\.(?!flip\.)|journal"},
    # Each command is met hanging on one of the two sides; that a connection breaks at it, by BYE, is
    # test_cases_crash.test_bye_at_any_command_is_no_end.
    "test_logins": {"test_target_that_fails_while_copying": "(?:hang|close)-(?:list|select)|close-(?:append$|fetch)|hang-append_literal",
                    "test_source_that_fails_while_copying": "(?:hang|close)-login|hang-fetch_literal|close-(?:list|select|fetch$)"},
    "test_many_stores": {"test_stores_that_hang_are_waited_for_once_and_named": ""},
    "test_numbers": {"test_long_gap_by_several_appends": "mdbox|single|courier|from_cyrus|from_courier",
                          "test_every_gap_is_filled": "mdbox|single",
                     "test_batch_behind_one_that_is_refused_is_given_up": "<lambda>0"},
    "test_numbers_mistakes": {"test_dovecot": "another-ca|http-for-https|closed-port|another-key", "test_all_is_well": "T2"},
    # Light and wide, dark and narrow.
    "test_page": {"test_how_it_looks": "dark-how1|phone-how", "test_names_are_text": r"javascript", "test_many_accounts_on_the_page": "wide"},
    # Each kind of answer is met at one of the two places where it may come.
    "test_pop3": {"test_fetchmail_fetches_nothing_again_behind_a_cyrus": "from_cyrus", "test_formats_of_the_handbook": "", "test_sign_in": "plain$", "test_server_that_greets_in_odd_ways": "word|imap|error|lf",
                  "test_server_that_answers_before_it_knows_the_password": "twice|none",
                  "test_server_that_can_not_be_understood": "word", "test_codes_of_the_server": "temp|perm",
                  "test_what_nobody_says_who_reads_mail": "cr|nul|apop|many"},
    "test_prepare": {"test_mailbox_is_opened_once_before_anybody_rests": "(?:not_there|lost)- UNSELECT"},
    # Each value of one parameter is met with each of any other.
    "test_qresync": {"test_what_others_changed": "T0", "test_what_others_changed_is_told_without_condstore": "T2",
                     "test_clients_come_back_after_the_flip": "T0 with jump",
                     "test_flag_that_is_set_in_the_freeze_behind_a_session_s_list":
                     "T0-at rest-ENABLE CONDSTORE|T0-in IDLE-ENABLE QRESYNC|T2-at rest-ENABLE QRESYNC|T2-in IDLE-ENABLE CONDSTORE",
                     "test_flag_that_is_set_in_the_freeze_is_told_without_condstore": "T0-at rest|T2-in IDLE"},
    "test_provision": {"test_program_that_hangs_and_floods_is_killed": ""},
    "test_provision_programs": {"test_sieve": ""},
    "test_retire": {"test_a_hundred_thousand_accounts_take_seconds": ""},
    # Of the same kind, the names are the same.
    "test_sharing": {"test_a_grantee_finds_the_mailboxes_once_both_are_moved": "cyrus-cyrus|cyrus-dovecot",
                     "test_a_grantee_keeps_the_numbers_of_the_owner": "dovecot-dovecot|cyrus-cyrus|cyrus-dovecot",
                     "test_members_write_into_each_others_mailboxes_over_the_flip": "filled|cyrus-cyrus|dovecot-dovecot"},
    "test_secrets": {"test_passwords_are_in_nothing_that_is_written": "json"},
    "test_redis_tls": {"test_failover_while_users_sign_in_and_accounts_move": ""},
    "test_sentinel": {"test_account_with_sessions_moves_over_failovers": r"migrator|script\.seen|script\.prepared|script.*-kill", "test_no_cut_over_in_the_quarantine": "ledger",
                      "test_account_with_sessions_moves_behind_two_failovers": r"register\.answered|where"},
    "test_qresync_moved": {"test_way_back_in_the_middle": "T1|T2-SELECT-UID"},
    # By 401 a real server answers in test_wrong_key.
    "test_tiers": {"test_channel_that_does_it_after_the_flip": "",
                   "test_channel_that_fails": "forbids|is_silent",
                   "test_killed_when_another_uidvalidity_is_told": "sent",
                   "test_dovecot_to_cyrus": "(?<!inbox-)dot|inbox-slash"},
    "test_lmtp_servers": {"test_a_proxy_is_killed_at_each_step": r"lmtp\.(?:rcpt|data|routes|end\.given)"},
    "test_upgrade": {"test_the_new_one_is_killed": "hello", "test_the_old_one_is_killed": "again|id"},
    "test_view": {"test_a_mailbox_made_behind_the_flip_goes": "in the future-(?:renamed|replaced)"},
    "test_view_job": {"test_a_second_move_is_called_off": "T1"},
    "test_view_clients": {"test_nothing_is_transferred_again": "(?:no )?UIDPLUS|Courier|Cyrus-Dovecot|Dovecot-Cyrus",
                          # That what would be wrong is seen.
                          "test_mail_programs_complain_of_other_numbers": "", "test_a_change_at_the_server_is_seen_as_a_difference": "",
                          "test_mail_programs_are_at_work_during_the_move": "UIDPLUS",
                          "test_the_proxy_can_be_taken_away": "Cyrus"},
    "test_view_differential": {"test_what_a_relay_falsifies_is_found": "a UID"},
    "test_view_hostile": {"test_a_backend_that_sends_what_it_likes": "1"},
}


# Files that take the longest begin first, so that no runner has one left when the others are done.
FIRST = ("test_faults", "test_groups", "test_tiers", "test_page", "test_qresync", "test_numbers", "test_view", "test_view_clients", "test_foreign", "test_deposit",
         "test_logins", "test_numbers_mistakes", "test_odd_answers", "test_freeze", "test_late", "test_handover", "test_sentinel", "test_crash",
         "test_proxies", "test_engine", "test_staff", "test_target_faults", "test_jobs", "test_cases_crash", "test_modseqs", "test_demo",
         "test_findings", "test_servers", "test_kill_migrator", "test_view_hostile", "test_view_job", "test_view_differential",
         "test_cluster", "test_many_stores", "test_sharing", "test_qresync_network", "test_upgrade")


def place(file):
    return FIRST.index(file) if file in FIRST else len(FIRST)


def is_long(file, test, parameters):
    """parameters: as pytest names the case, without brackets."""
    return any(test.startswith(name) and re.search(rf"(?:^|-)(?:{pattern})", parameters)
               for name, pattern in LONG.get(file, {}).items())
