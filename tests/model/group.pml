/* The cut-over of two accounts that share: ann's mailbox is written to by her own session and by bob's. What one account's
 * sessions, proxies, leases and migrators do is cutover.pml; here stands what a group adds: three gates and one point of no return.
 *
 *   prepare   begins for all, once each is ready and in the hands of a migrator
 *   freeze    begins for all, once each has all its sessions prepared
 *   rested    a member's last delta begins once the sessions of ALL members rest: a grantee writes into others' mailboxes
 *   flip      a member that is verified says so, for its epoch; the script of the last one moves all to flipping
 *   thaw      of one, by anybody and for any reason (a claim, a new master), thaws all
 *
 * From flipping each goes on by itself, by whoever owns it. The weakened variants (OWN_FLIP, OWN_REST,
 * OLD_VOICE, UNKEPT) are told in README.md. */

#ifndef CLAIMS
#define CLAIMS 3        /* of jobs, in all */
#endif
#ifndef FAILOVERS
#define FAILOVERS 0
#endif
#define N 2
#define ANN 0
#define BOB 1
#define other(a) (1 - a)

#define QUEUED    0
#define COPYING   1
#define READY     2
#define PREPARING 3
#define FREEZING  4
#define FLIPPING  5
#define FLIPPED   6
#define SOURCE 0
#define TARGET 1

/* Redis. */
byte st[N], ep[N], own[N];      /* own: 0 nobody, else which of the two migrators of the account, + 1 */
bit bk[N];
bit voice[N];                   /* verified, for the epoch voice_ep */
byte voice_ep[N];
bit rests[N];                   /* the registration of its session: frozen, for the epoch rests_ep */
byte rests_ep[N];
bit late;                       /* the common deadline */
byte claims;
#if FAILOVERS
byte cst[N], cep[N], cown[N], cvoice_ep[N], crests_ep[N];
bit cbk[N], cvoice[N], crests[N], replica;
byte failovers;
#endif

/* One session an account. */
#define RUN 0
#define FROZEN 1
#define MOVED 2
byte ses[N], heard[N];          /* the epoch in which it rests */
#define FLIGHT 1
#define DONE 2
byte w[N];                      /* a command under way at the source ... */
bit at[N];                      /* ... that changes a mailbox of this account */
bit copied[N];

/* Two migrators an account: the second claims when it likes. */
#define M_IDLE 0
#define M_COPY 1
#define M_GATE 2                /* ready, waits for the others */
#define M_SIGN 3
#define M_REST 4
#define M_LAST 5
#define M_FLIP 6
#define M_KEPT 7
#define M_JOURNAL 8
#define M_PUBLISH 9
byte ms[4], me[4];
#define of(m) (m / 2)
#define mine(m) (own[of(m)] == m % 2 + 1 && ep[of(m)] == me[m])

bit ackS[N], ackT[N], journaled[N];
#define may_thaw(s) (s == PREPARING || s == FREEZING)
#define frozen_state(s) (s == FREEZING || s == FLIPPING)
#define good(a) (!(bk[a] == TARGET && ackS[a]) && !(bk[a] == SOURCE && st[a] != FLIPPING && (ackT[a] || journaled[a])))
#define SAFE (good(ANN) && good(BOB))
byte i;

/* After a failover nobody prepares for a while, and then it is as it was before one. */
#if FAILOVERS
#define quarantine (failovers > 0)
#else
#define quarantine false
#endif

/* ---- scripts ---- */

inline thaw_one(a) { if :: may_thaw(st[a]) -> st[a] = READY :: else fi }
inline thaw() { thaw_one(ANN); thaw_one(BOB); late = 0 }

inline claim(m) {
    thaw();
    ep[of(m)]++; own[of(m)] = m % 2 + 1; me[m] = ep[of(m)];
    if
    :: st[of(m)] == FLIPPING -> ms[m] = M_KEPT
    :: else -> st[of(m)] = COPYING; ms[m] = M_COPY
    fi;
    assert(SAFE)
}

/* Both in READY, each in somebody's hands that waits at the gate. Who calls it again finds it done by the epoch before. */
#define at_gate(a) (st[a] == READY && own[a] && ms[2 * a + own[a] - 1] == M_GATE && me[2 * a + own[a] - 1] == ep[a])
inline prepare() {
    for (i : 0 .. 1) { ep[i]++; st[i] = PREPARING; me[2 * i + own[i] - 1] = ep[i]; ms[2 * i + own[i] - 1] = M_SIGN };
    late = 0
}
#define at_sign(a) (st[a] == PREPARING && own[a] && ms[2 * a + own[a] - 1] == M_SIGN && me[2 * a + own[a] - 1] == ep[a])
inline freeze() {
    for (i : 0 .. 1) { st[i] = FREEZING; ms[2 * i + own[i] - 1] = M_REST };
    late = 0
}

#define is_rested(a) (st[a] == FREEZING && rests[a] && rests_ep[a] == ep[a])
#ifdef OWN_REST
#define rested(a) is_rested(a)
#else
#define rested(a) (is_rested(ANN) && is_rested(BOB))
#endif

#define said(a) (voice[a] && voice_ep[a] == ep[a])
#ifdef OLD_VOICE
#define has_said(a) voice[a]
#else
#define has_said(a) said(a)
#endif
#define may_flip(a) (is_rested(a) && has_said(a))
inline flip(a) {
    voice[a] = 1; voice_ep[a] = ep[a];
    if
#ifdef OWN_FLIP
    :: may_flip(a) -> st[a] = FLIPPING
#else
    :: may_flip(ANN) && may_flip(BOB) -> st[ANN] = FLIPPING; st[BOB] = FLIPPING; late = 0
#endif
    :: else
    fi
}

/* WAIT: the replica that will be the next master has what this one has. */
#if FAILOVERS
inline copy() {
    for (i : 0 .. 1) {
        cst[i] = st[i]; cep[i] = ep[i]; cown[i] = own[i]; cbk[i] = bk[i]; cvoice[i] = voice[i]; cvoice_ep[i] = voice_ep[i];
        crests[i] = rests[i]; crests_ep[i] = rests_ep[i]
    };
    skip
}
#endif
inline replicate() {
#if FAILOVERS && !defined(UNKEPT)
    if :: replica -> copy() :: else fi
#else
    skip
#endif
}

/* ---- a session, with its proxy ---- */

proctype Session(byte n) {
end_waits:
    do
    :: d_step { ses[n] == RUN && w[n] == 0 && bk[n] == SOURCE -> w[n] = FLIGHT; at[n] = n }
    :: d_step { n == BOB && ses[n] == RUN && w[n] == 0 && bk[n] == SOURCE -> w[n] = FLIGHT; at[n] = ANN }
    :: d_step { w[n] == FLIGHT -> w[n] = DONE }
    :: d_step { w[n] == DONE -> ackS[at[n]] = ackS[at[n]] || !copied[n]; w[n] = 0; copied[n] = 0; at[n] = 0; assert(SAFE) }
    /* It rests, for this attempt; what it acknowledged for another does not count. */
    :: d_step { ses[n] == RUN && w[n] == 0 && st[n] == FREEZING -> ses[n] = FROZEN; heard[n] = ep[n] }
    :: d_step { ses[n] == FROZEN && st[n] == FREEZING && heard[n] == ep[n] && !(rests[n] && rests_ep[n] == ep[n]) ->
        rests[n] = 1; rests_ep[n] = ep[n] }
    :: d_step { ses[n] == FROZEN && !frozen_state(st[n]) && bk[n] == SOURCE -> ses[n] = RUN; heard[n] = 0 }
    :: d_step { ses[n] == FROZEN && st[n] == FREEZING && heard[n] != ep[n] -> ses[n] = RUN; heard[n] = 0 }
    /* At the target it changes its own mailboxes, and bob ann's. */
    :: d_step { ses[n] == FROZEN && bk[n] == TARGET ->
        ses[n] = MOVED; ackT[n] = 1; if :: n == BOB -> ackT[ANN] = 1 :: else fi;
        assert(SAFE) }
    od
}

/* ---- a migrator ---- */

inline give_up(m) { ms[m] = M_IDLE; me[m] = 0 }

proctype Migrator(byte m) {
end_waits:
    do
    :: d_step { ms[m] == M_IDLE && st[of(m)] <= FLIPPING && own[of(m)] != m % 2 + 1 && claims < CLAIMS -> claims++; claim(m) }
    :: d_step { ms[m] == M_COPY -> if :: mine(m) && st[of(m)] == COPYING -> st[of(m)] = READY; ms[m] = M_GATE :: else -> give_up(m) fi }
    :: d_step { ms[m] == M_GATE && !mine(m) -> give_up(m) }
    :: d_step { ms[m] == M_GATE && !quarantine && at_gate(ANN) && at_gate(BOB) -> prepare() }
    :: d_step { ms[m] == M_SIGN && at_sign(ANN) && at_sign(BOB) && !late -> freeze() }
    :: d_step { ms[m] == M_REST && mine(m) && rested(of(m)) -> replicate(); ms[m] = M_LAST }
    /* The last delta, and the comparison, of the mailboxes of this account. */
    :: d_step { ms[m] == M_LAST && mine(m) ->
        assert(!ackT[of(m)]);
        for (i : 0 .. 1) { if :: w[i] == DONE && at[i] == of(m) -> copied[i] = 1 :: else fi };
        ackS[of(m)] = 0; ms[m] = M_FLIP }
    :: d_step { ms[m] == M_FLIP && mine(m) && is_rested(of(m)) && !late && !said(of(m)) -> flip(of(m)) }
    :: d_step { ms[m] == M_FLIP && mine(m) && st[of(m)] == FLIPPING -> ms[m] = M_KEPT }
    /* abort: also where another has thawed it */
    :: d_step { ms[m] >= M_SIGN && ms[m] <= M_FLIP && (!mine(m) || st[of(m)] != FLIPPING) ->
        if
        :: mine(m) && may_thaw(st[of(m)]) -> thaw()
        :: else
        fi;
        if :: mine(m) && st[of(m)] == READY -> st[of(m)] = QUEUED; own[of(m)] = 0 :: else fi;
        give_up(m); assert(SAFE) }
    :: d_step { ms[m] == M_KEPT -> if :: mine(m) && st[of(m)] == FLIPPING -> replicate(); ms[m] = M_JOURNAL :: else -> give_up(m) fi }
    :: d_step { ms[m] == M_JOURNAL -> journaled[of(m)] = 1; ms[m] = M_PUBLISH; assert(SAFE) }
    :: d_step { ms[m] == M_PUBLISH ->
        if :: mine(m) && st[of(m)] == FLIPPING -> st[of(m)] = FLIPPED; bk[of(m)] = TARGET; ep[of(m)]++; own[of(m)] = 0 :: else fi;
        give_up(m); assert(SAFE) }
    od
}

proctype Redis() {
end_waits:
    do
    :: d_step { (may_thaw(st[ANN]) || may_thaw(st[BOB])) && !late -> late = 1 }
    :: d_step { late && (may_thaw(st[ANN]) || may_thaw(st[BOB])) -> thaw(); assert(SAFE) }
#if FAILOVERS
    :: d_step { !replica && failovers < FAILOVERS -> replica = 1; copy() }
    :: d_step { replica -> replica = 0; failovers++;
        for (i : 0 .. 1) {
            st[i] = cst[i]; ep[i] = cep[i]; own[i] = cown[i]; bk[i] = cbk[i]; voice[i] = cvoice[i]; voice_ep[i] = cvoice_ep[i];
            rests[i] = crests[i]; rests_ep[i] = crests_ep[i]
        };
        thaw();
        assert(SAFE) }
#endif
    od
}

init { atomic { run Redis(); run Session(ANN); run Session(BOB); run Migrator(0); run Migrator(1); run Migrator(2); run Migrator(3) } }
