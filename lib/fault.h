/* fault: ends, stops or cuts off the process at a named point, so that a test can see what comes of it. Built
 * in only by FAULTS=1, which SAN=1 implies; otherwise nothing of it is in a program, not even the names.
 *
 * point                      passed
 * ---------------------------+----------------------------------------------------------------
 * script.NAME.sent           before a script of lib/route/ goes to Redis
 * script.NAME.answered       when its answer is there and nobody has been told
 * ledger.KIND.sent           before an entry is written (the script "ledger" carries it)
 * ledger.KIND.answered       when it stands in Redis and nobody has been told
 * command.VERB.sent          before an IMAP command goes out ("_" for the blank of "UID STORE")
 * command.VERB.answered      when its tagged answer is there
 * command.VERB.body          after each piece of a body that goes out by this command
 * command.APPEND.closed      behind the last byte
 * channel.KIND.sent          before a target is told numbers of a mailbox, or given a message (doveadm, cyrus)
 * channel.KIND.given         behind the last byte of a message
 * channel.KIND.answered      when it has answered and nobody has been told
 * bypass.sent, .answered     before and after the source is looked at again, in the freeze
 * lmtp.rcpt.sent, .answered   before a route is asked for a recipient, and before RCPT is answered
 * lmtp.data.sent, .answered   before DATA goes to servers, and before it is answered
 * lmtp.data.body              after each piece of a message
 * lmtp.routes.sent            when the message is there, before routes are asked again
 * lmtp.end.sent, .given       before and after the last dot goes to a server
 * lmtp.end.answered           before the client gets answers behind its message
 * upgrade.WORD.sent          before a packet goes to the other process of an upgrade (proxy/upgrade.h)
 * proof.sent, .answered      before and after the end of a proof is written to the disk
 * journal.sent, .answered    before and after a flip is written to the disk (not: a probe)
 *
 * The environment says what happens:
 *   IMAPFERRY_FAULT=POINT:N:ACTION    the N-th time that POINT is passed
 *       kill       SIGKILL                       stop       SIGSTOP
 *       cut=PORT   ends the connections to PORT, what was sent arrives
 *       reset=PORT resets them, what was not sent yet is lost
 *   IMAPFERRY_FAULT_TRACE=FILE        writes the name of each point that is passed, one a line */
#ifndef IMAPFERRY_FAULT_H
#define IMAPFERRY_FAULT_H

#ifdef IMAPFERRY_FAULTS
/* Passes the point "AREA.MOMENT" or, where name is not NULL, "AREA.NAME.MOMENT". May be called from any
 * thread. */
void fault_point(const char *area, const char *name, const char *moment);
#define FAULT_POINT(area, name, moment) fault_point((area), (name), (moment))
#else
#define FAULT_POINT(area, name, moment) ((void)0)
#endif

#endif
