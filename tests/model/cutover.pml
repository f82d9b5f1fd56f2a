/* The cut-over of one account (DESIGN.md section 6): proxies and their sessions, migrators, and Redis.
 *
 * Every inline of the section "scripts" is the script of lib/route/ of that name, and one step of Redis. README.md says
 * how time, messages and faults are put, what is checked, and what is left out.
 *
 * Sizes: NP proxies, NS sessions (one each, unless said otherwise), NM migrators, CLAIMS claims of the job in all, FAILOVERS changes of master, CRASHES programs that
 * are killed. LIVE: checks that a freeze ends. BYE: sessions never rest, they end (the proxy without hand-over).
 * The weakened variants are the other names asked for by #ifdef: run.py lists them. */

#ifndef NP
#define NP 2
#endif
#ifndef NS
#define NS NP           /* or twice as many */
#endif
#ifndef NM
#define NM 1
#endif
#ifndef CLAIMS
#define CLAIMS 2
#endif
#ifndef FAILOVERS
#define FAILOVERS 0
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#ifndef FIRST
#define FIRST 0         /* the state that the account begins in: 0 resting, 1 queued, so that all know it is engaged */
#endif

/* ---- what there is ---- */

/* States of the route, in this order within one epoch of an attempt: preparing, freezing, flipping. */
#define RESTING   0
#define QUEUED    1
#define COPYING   2
#define READY     3
#define PREPARING 4
#define FREEZING  5
#define FLIPPING  6
#define FLIPPED   7

#define SOURCE 0
#define TARGET 1

/* What Redis holds of the account: R is the master. C is what the replica has that will be the next master, from the
 * moment on (`replica`) after which it gets nothing more but what WAIT asks for. */
#define RUNNING  0
#define PREPARED 1      /* signed in at the target too */
#define RESTS    2      /* frozen */
typedef Store {
    byte st, ep, own;   /* own: 0 nobody, else migrator + 1, which stands for its token */
    bit bk;
    bit rg[NS];         /* a registration of the session */
    byte rge[NS];       /* the epoch that its proxy has seen */
    byte rgm[NS]        /* its mode */
};
Store R;
#if FAILOVERS
Store C;
bit replica;
byte failovers;
#endif
bit gen;                /* the generation of the store, modulo 2: there is one failover at most */
bit quarantine;
bit late;               /* the deadline of preparing or freezing has passed */
byte claims;
byte crashes;

/* A session, n, of the proxy of(n). */
#define of(n) (n % NP)
#if NS > NP
#define some(p, is) (is(p) || is(p + NP))
#else
#define some(p, is) (is(p))
#endif
#define NONE   0        /* not logged in yet */
#define READ   1        /* the route was read, signing in */
#define ENTER  2        /* `enter` was sent */
#define RUN    3        /* told OK */
#define FROZEN 4        /* at rest: `frozen` was sent */
#define MOVED  5        /* handed over, or logged in, at the target */
#define GONE   6        /* ended */
byte ses[NS];
byte rest[NS];          /* passes no new command: 1 `resume` or `register` said wait, 2 heard of freezing in epoch ep */
bit eng[NS];            /* knows that the account is engaged: the short term counts */
bit good[NS];           /* no lapse of its term since `enter` or `resume` was sent */
bit unreg[NS];          /* a new master may have lost the registration */
bit ov[NS];             /* something was heard of the account since `enter` was sent */

/* What a proxy knows of the account, as long as it has sessions or logins of it. */
byte ep[NP];            /* the epoch */
bit known[NP];          /* that it is engaged */

/* A command that changes the source, and its OK. */
#define FLIGHT 1        /* sent; the source executes it at any later time */
#define DONE   2        /* executed; the OK is on its way, or was read */
byte w[NS];
bit clock[NS];          /* the lease was found valid, the OK may be passed on */
bit copied[NS];         /* the target has it */

/* A proxy's lease. Levels: 2 both terms, 1 the long one only, 0 none. Bits of masks: watch of migrator m. */
byte v[NP];             /* the level that holds by the proxy's clock */
bit vgen[NP];           /* of the master that gave it */
byte vold[NP];          /* given by a renewal that was sent before the watch began */
#define SENT 1
#define ANSWERED 2
byte rq[NP];            /* the renewal under way */
byte rqold[NP], rqdead[NP]; /* sent before the watch began; 1, 2: what it would give of terms has run out */
bit rqgen[NP];
bit lgen[NP];           /* of the last renewal: lease.generation */
bit pgen[NP];           /* of the connection: store_generation() */

/* A script that a session waits for, and the acknowledgement, which nobody waits for. */
#define OP_ENTER 1
#define OP_RESUME 2
#define OP_REGISTER 3
#define OK 1
#define WAIT 2
#define AGAIN 3
#define LOST 4
byte op[NS], opkind[NS], opres[NS], opst[NS], opep[NS];
bit opgen[NS];
byte oplevel[NS];       /* the level of the lease that has held since it was sent */
bit fz[NS];
byte fzep[NS];
bit fzgen[NS];

/* Migrators, as in migrator/job/job.h and cutover.h. */
#define M_IDLE    0
#define M_COPY    1
#define M_WATCH   2
#define M_PREPARE 3
#define M_REST    4
#define M_LAST    5
#define M_APPLY   6
#define M_FLIP    7
#define M_KEPT    8
#define M_JOURNAL 9
#define M_PUBLISH 10
#define M_ABORT   11
#define M_DEAD    12
byte ms[NM], me[NM];
bit watching[NM], wgen[NM];
byte same[NM];          /* bits of proxies: the counter in Redis is the one that the watch began with */
byte silent[NM];        /* bits of proxies: watched for the whole term without moving */
bit intent[NM];         /* a change of the target is in the ledger, and under way */
bit journal[NM];        /* its own disk says flipped */

hidden byte i, k;       /* of loops within a step */
hidden byte yes;

/* LAPSES: so many in all, else as many as may be. */
#ifdef LAPSES
byte lapses;
#define may_lapse (lapses < LAPSES)
#else
#define may_lapse true
#endif

/* What is only there to be checked. */
bit ackS;               /* a client was told OK for a change that the source has and the target has not */
bit ackT;               /* a client was served at the target */
bit journaled;          /* some disk says flipped */
bit verified[NM];       /* found equal in the attempt that it is at */

/* Promise 4, and what `route restore` needs. */
#define SAFE (!(R.bk == TARGET && ackS) && !(R.bk == SOURCE && R.st != FLIPPING && (ackT || journaled)))
#define engaged(s) (s != RESTING)
#define frozen_state(s) (s == FREEZING || s == FLIPPING)
#define may_thaw(s) (s == PREPARING || s == FREEZING)
#define term(n) (eng[n] -> 2 : 1)
#define in_relay(n) (ses[n] == RUN || ses[n] == FROZEN)
#define attached(n) (ses[n] >= READ && ses[n] <= FROZEN)
#define not_over(n) (ses[n] < MOVED)
#define has_registration(n) R.rg[n]
#define BIT(x) (1 << x)

/* registration_may_pass() */
#ifdef RENEW_FIRST
#define registered(n) true
#else
#define registered(n) (!unreg[n])
#endif
#define leased(n) (v[of(n)] >= term(n) && good[n])
#define may_pass(n) (leased(n) && registered(n))

/* ---- scripts ---- */

inline set_ready() { R.st = READY; late = 0; }

/* thaw: by anybody, after the deadline */
inline thaw() { if :: may_thaw(R.st) && late -> set_ready() :: else fi; assert(SAFE) }

inline enter(n) {
    if
#ifdef ENTER_EPOCH
    :: opep[n] == R.ep -> R.rg[n] = 1; R.rge[n] = R.ep; R.rgm[n] = RUNNING; opres[n] = OK
    :: else -> opres[n] = AGAIN
#else
    :: opgen[n] != gen -> opres[n] = AGAIN
    :: else ->
        if
        :: may_thaw(R.st) && late -> set_ready(); opres[n] = AGAIN
        :: else ->
            if
            :: frozen_state(R.st) || R.bk != SOURCE || opst[n] != R.st || opep[n] != R.ep -> opres[n] = AGAIN
            :: else -> R.rg[n] = 1; R.rge[n] = R.ep; R.rgm[n] = RUNNING; opres[n] = OK
            fi
        fi
#endif
    fi;
    opst[n] = R.st; opep[n] = R.ep
}

inline resume(n) {
    if
    :: !R.rg[n] || opgen[n] != gen || R.bk != SOURCE || R.rge[n] > opep[n] || opep[n] > R.ep -> opres[n] = LOST
    :: else -> opres[n] = (frozen_state(R.st) -> WAIT : OK)
    fi
}

inline register(n) {
    if
    :: opgen[n] != gen || R.bk != SOURCE -> opres[n] = LOST
    :: else ->
        if
        :: frozen_state(R.st) -> opres[n] = (R.rg[n] -> WAIT : LOST)
        :: else ->
            opres[n] = OK;
            if
            :: R.rg[n] && R.rgm[n] == RUNNING
            :: else -> R.rg[n] = 1; R.rgm[n] = RUNNING; R.rge[n] = (opep[n] < R.ep -> opep[n] : R.ep)
            fi
        fi
    fi
}

inline renew(p) {
    rqgen[p] = gen;
    for (i : 0 .. NM - 1) {
#ifdef COUNTERS_AGAIN
        /* A counter that Redis counts: the first renewal on the new master writes the number that was watched. */
        if :: gen != lgen[p] -> same[i] = same[i] | BIT(p) :: else -> same[i] = same[i] & ~BIT(p) fi
#else
        same[i] = same[i] & ~BIT(p)
#endif
    }
}

/* Sent by a proxy that knows epoch ep[p]; how late it comes makes no difference as long as the epoch is compared. */
#define is_behind(n) (R.rg[n] && R.rge[n] < ep[of(n)])
inline seen(p) {
    for (i : 0 .. NS - 1) {
        if
        :: of(i) == p && pgen[p] == gen && ep[p] <= R.ep && is_behind(i) -> R.rge[i] = ep[p]; R.rgm[i] = RUNNING
        :: else
        fi
    };
    skip
}

inline frozen(n) {
    if
#ifdef NO_EPOCH_ACK
    :: R.rg[n] && fzgen[n] == gen && R.st == FREEZING -> R.rgm[n] = RESTS; R.rge[n] = R.ep
#else
    :: R.rg[n] && fzgen[n] == gen && fzep[n] == R.ep && R.st == FREEZING -> R.rgm[n] = RESTS; R.rge[n] = R.ep
#endif
    :: else
    fi;
    fz[n] = 0; fzep[n] = 0; fzgen[n] = 0
}

/* prepared, refuse: sent by a proxy that knows the epoch, which both compare; they come when they come. */
inline prepared(n) { R.rgm[n] = PREPARED; R.rge[n] = R.ep }
inline refuse(n) { set_ready(); assert(SAFE) }
#ifdef REFUSE_ANY
#define may_refuse(s) (s >= PREPARING)
#else
#define may_refuse(s) (s == PREPARING)
#endif

#define mine(m) (R.own == m + 1 && R.ep == me[m])

/* An owner found here may well be alive: it is slow, or cut off from the stream of jobs. */
inline claim(m) {
    R.ep++; R.own = m + 1; me[m] = R.ep; late = 0; verified[m] = 0;
    if
#ifdef THAW_FLIPPING
    :: R.st == FLIPPING && !journal[m] -> R.st = COPYING; ms[m] = M_COPY
#endif
    :: R.st == FLIPPING -> ms[m] = M_KEPT
    :: R.st != FLIPPING -> R.st = COPYING; ms[m] = M_COPY
    fi;
    assert(SAFE)
}

inline evict(m, p) {
    if
    :: frozen_state(R.st)
#ifndef COUNTERS_AGAIN
    :: !frozen_state(R.st) && wgen[m] != gen
#endif
    :: else ->
        for (i : 0 .. NS - 1) {
            if
#ifdef EVICT_BLIND
            :: of(i) == p -> R.rg[i] = 0; R.rge[i] = 0; R.rgm[i] = RUNNING
#else
            :: of(i) == p && (same[m] & BIT(p)) -> R.rg[i] = 0; R.rge[i] = 0; R.rgm[i] = RUNNING
#endif
            :: else
            fi
        }
    fi
}

inline prepare(m) {
    for (i : 0 .. NS - 1) { R.rgm[i] = RUNNING }
    R.st = PREPARING; R.ep++; me[m] = R.ep; late = 0; verified[m] = 0
}

inline flip(m) {
    assert(verified[m]); /* no flip without a verification of this attempt */
    R.st = FLIPPING; late = 0
}

inline flipped(m) {
    R.st = FLIPPED; R.bk = TARGET; R.ep++; R.own = 0;
    for (i : 0 .. NS - 1) { R.rg[i] = 0; R.rge[i] = 0; R.rgm[i] = RUNNING }
    assert(SAFE)
}

/* WAIT: the replica has what the master had. */
inline replicate() {
#if FAILOVERS
    if
    :: replica ->
        C.st = R.st; C.ep = R.ep; C.own = R.own; C.bk = R.bk;
        for (i : 0 .. NS - 1) { C.rg[i] = R.rg[i]; C.rge[i] = R.rge[i]; C.rgm[i] = R.rgm[i] }
    :: else
    fi
#else
    skip
#endif
}

/* ---- a proxy ---- */

inline op_clear(n) { op[n] = 0; opkind[n] = 0; opres[n] = 0; opst[n] = 0; opep[n] = 0; opgen[n] = 0; oplevel[n] = 0 }

/* The session ends; what it has under way at the source is never acknowledged. `leave` comes when it comes. A login
 * that failed may be tried again. What is known of the account goes with the last of its sessions. */
inline drop(n) {
    ses[n] = NONE; rest[n] = 0; eng[n] = 0; good[n] = 0; unreg[n] = 0; ov[n] = 0;
    w[n] = 0; clock[n] = 0; copied[n] = 0;
    op_clear(n);
    if :: !some(of(n), attached) -> ep[of(n)] = 0; known[of(n)] = 0 :: else fi
}

/* A proxy whose sessions are all over has no lease to speak of. */
inline finish(n, how) {
    drop(n);
    ses[n] = how;
    if
    :: !some(of(n), not_over) ->
        v[of(n)] = 0; vold[of(n)] = 0; vgen[of(n)] = 0; lgen[of(n)] = 0; pgen[of(n)] = 0;
        rq[of(n)] = 0; rqold[of(n)] = 0; rqdead[of(n)] = 0; rqgen[of(n)] = 0
    :: else
    fi
}

inline moved(n) { finish(n, MOVED); ackT = 1; assert(SAFE) }

/* Before anything is sent for sessions: a connection to another master says hello, and what waited on the old one has
 * failed. The lease has a connection of its own. */
inline connect(p) {
    if
    :: pgen[p] != gen ->
        pgen[p] = gen;
        for (i : 0 .. NS - 1) {
            if
            :: of(i) == p && op[i] && opkind[i] == OP_ENTER -> drop(i)
            :: of(i) == p && op[i] && opkind[i] != OP_ENTER -> op_clear(i)
            :: else
            fi
        }
    :: else
    fi
}

/* set_engaged() */
inline engage(n) {
    if :: !eng[n] -> good[n] = leased(n) && v[of(n)] == 2; eng[n] = 1 :: else fi
}

/* freeze_session() */
inline session_hears(n) {
    if
    :: R.bk == TARGET && ses[n] == FROZEN -> moved(n)
    :: (R.bk == TARGET || R.st == FLIPPING) && ses[n] == RUN -> finish(n, GONE)
    :: else ->
        if :: engaged(R.st) -> engage(n) :: else fi;
        if
        :: R.st == FREEZING ->
            /* What was acknowledged for another attempt does not count for this one. */
            if :: ses[n] == FROZEN && ep[of(n)] != R.ep -> ses[n] = RUN :: else fi;
            rest[n] = 2
        :: R.st != FREEZING && R.st != FLIPPING -> ses[n] = RUN; rest[n] = 0
        :: R.st == FLIPPING
        fi
    fi
}

/* accounts_heard(): what the route is now; how late a proxy hears of it is when it takes this step. */
inline hear(p) {
    for (k : 0 .. NS - 1) {
        if
        :: of(k) == p && in_relay(k) -> session_hears(k)
        :: of(k) == p && ses[k] == ENTER -> ov[k] = 1
        :: else
        fi
    };
    if :: some(p, attached) -> ep[p] = R.ep; known[p] = engaged(R.st) :: else fi
}

#define unheard(n) (in_relay(n) && (R.bk == TARGET || (R.st == FLIPPING && ses[n] == RUN) || \
                    (R.st == FREEZING && rest[n] != 2) || (R.st < FREEZING && rest[n]) || (!eng[n] && engaged(R.st)) || \
                    (ses[n] == FROZEN && R.st < FREEZING)))
#define news(p) ((some(p, attached) && (ep[p] != R.ep || known[p] != engaged(R.st))) || some(p, unheard))

/* LEASE_NEW_MASTER: what was registered before it may be lost, also by an `enter` that is not answered yet. */
#ifdef LOGIN_UNDOUBTED
#define is_doubted(n) in_relay(n)
#else
#define is_doubted(n) (in_relay(n) || ses[n] == ENTER)
#endif

inline renewed(p) {
    if
    :: rqgen[p] != lgen[p] ->
        lgen[p] = rqgen[p];
        for (i : 0 .. NS - 1) { if :: of(i) == p -> unreg[i] = is_doubted(i) :: else fi }
    :: else
    fi;
    if
    :: rqdead[p] < 2 && 2 - rqdead[p] >= v[p] -> v[p] = 2 - rqdead[p]; vold[p] = rqold[p]; vgen[p] = rqgen[p]
    :: else
    fi;
    rq[p] = 0; rqold[p] = 0; rqdead[p] = 0; rqgen[p] = 0
}

/* on_registration(). An answer of the former master says nothing of this one. */
#ifdef ANSWER_OF_BEFORE
#define is_of_this_master(n) true
#else
#define is_of_this_master(n) (opgen[n] == lgen[of(n)])
#endif

inline asked(n) {
    if
    :: opres[n] == LOST && ses[n] == FROZEN -> op_clear(n) /* who rests waits for word */
    :: opres[n] == LOST && ses[n] != FROZEN -> finish(n, GONE)
    :: else ->
        if :: is_of_this_master(n) -> unreg[n] = 0 :: else fi;
        if :: opkind[n] == OP_RESUME -> good[n] = oplevel[n] >= term(n) :: else fi;
        if :: opres[n] == WAIT && !rest[n] -> rest[n] = 1 :: else fi;
        op_clear(n)
    fi
}

/* entered(). What was heard since `enter` was sent may be later than its answer, and was told the store (`seen`) for this
 * registration too: it begins on the short term. Else the answer is news for the other sessions. */
#ifdef OVERTAKEN
#define begins_engaged(n) engaged(opst[n])
#else
#define begins_engaged(n) (engaged(opst[n]) || ov[n])
#endif

inline entered(n) {
    if
    :: opres[n] == OK ->
        eng[n] = begins_engaged(n);
        if
        :: !ov[n] ->
            for (k : 0 .. NS - 1) {
                if :: k != n && of(k) == of(n) && in_relay(k) && engaged(opst[n]) -> engage(k) :: else fi
            };
            ep[of(n)] = opep[n]; known[of(n)] = engaged(opst[n])
        :: else
        fi;
        good[n] = oplevel[n] >= term(n);
        if
        :: may_pass(n) -> op_clear(n); ov[n] = 0; ses[n] = RUN
        :: else -> finish(n, GONE)
        fi
    :: else -> op_clear(n); ov[n] = 0; ses[n] = NONE;
        if :: !some(of(n), attached) -> ep[of(n)] = 0; known[of(n)] = 0 :: else fi
    fi
}

inline lapse(p, left) {
#ifdef LAPSES
    lapses++;
#endif
    v[p] = left;
    if :: left == 0 -> vold[p] = 0; vgen[p] = 0 :: else fi;
#ifndef UNNOTICED_LAPSE
    for (i : 0 .. NS - 1) {
        if :: of(i) == p && left < term(i) && ses[i] != NONE -> good[i] = 0 :: else fi;
        if :: of(i) == p && oplevel[i] > left -> oplevel[i] = left :: else fi
    };
#endif
    skip
}

#if CRASHES
bit dead[NP];
#define is_dead(p) dead[p]
#else
#define is_dead(p) false
#endif

proctype Proxy(byte p) {
end_waits:
    do
    /* its lease */
    /* (one that would change nothing is not sent: this lease is younger than all watches, and of this master) */
    :: d_step { rq[p] == 0 && some(p, not_over) && (v[p] < 2 || vold[p] || lgen[p] != gen || vgen[p] != gen) ->
        rq[p] = SENT }
    :: d_step { rq[p] == ANSWERED -> renewed(p) }
#if FIRST == 0
    :: d_step { v[p] == 2 && may_lapse -> lapse(p, 1) }
    :: d_step { v[p] == 1 && may_lapse -> lapse(p, 0) }
#else
    :: d_step { v[p] == 2 && may_lapse -> lapse(p, 0) } /* nobody is on the long term */
#endif

    /* news */
    :: d_step { news(p) -> hear(p) }
    :: d_step { some(p, attached) && known[p] && some(p, is_behind) && pgen[p] == gen -> seen(p) }
#if CRASHES
    :: atomic { crashes < CRASHES && some(p, not_over) -> d_step {
        crashes++; dead[p] = 1;
        for (k : 0 .. NS - 1) { if :: of(k) == p -> finish(k, GONE) :: else fi };
        skip };
        break }
#endif
    od
}

proctype Session(byte n) {
end_waits:
    do
    /* a login */
    :: d_step { ses[n] == NONE && !frozen_state(R.st) && R.bk == SOURCE ->
        connect(of(n)); ses[n] = READ; opst[n] = R.st; opep[n] = R.ep; opgen[n] = gen }
    :: d_step { ses[n] == NONE && R.bk == TARGET -> moved(n) }
    :: d_step { ses[n] == READ && v[of(n)] == 2 ->
        connect(of(n));
        op[n] = SENT; opkind[n] = OP_ENTER; oplevel[n] = 2;
        ses[n] = ENTER;
#ifdef OK_BEFORE_ENTER
        eng[n] = engaged(opst[n]); ep[of(n)] = opep[n]; known[of(n)] = eng[n]; good[n] = 1
#endif
        }
    :: d_step { op[n] == ANSWERED && ses[n] == ENTER -> entered(n) }

    /* commands; the clock is read after the bytes */
#ifdef OK_BEFORE_ENTER
    :: d_step { (ses[n] == RUN || ses[n] == ENTER) && !rest[n] && w[n] == 0 && may_pass(n) -> w[n] = FLIGHT }
#else
    :: d_step { ses[n] == RUN && !rest[n] && w[n] == 0 && may_pass(n) -> w[n] = FLIGHT }
#endif
    :: d_step { w[n] == FLIGHT -> w[n] = DONE }
#ifdef CLOCK_FIRST
    :: d_step { w[n] == FLIGHT && !clock[n] && may_pass(n) -> clock[n] = 1 }
#endif
#ifdef OK_AFTER_LEASE
    :: d_step { w[n] == DONE && !clock[n] -> clock[n] = 1 }
#else
    :: d_step { w[n] == DONE && !clock[n] && may_pass(n) -> clock[n] = 1 }
#endif
    :: d_step { w[n] == DONE && clock[n] ->
        ackS = ackS || !copied[n]; w[n] = 0; clock[n] = 0; copied[n] = 0;
        assert(SAFE) }

    /* prepare.h: signed in at the target, which may refuse the session */
    :: d_step { ses[n] == RUN && R.st == PREPARING && ep[of(n)] == R.ep && pgen[of(n)] == gen && R.rg[n] &&
        R.rgm[n] == RUNNING -> prepared(n) }
    :: d_step { in_relay(n) && may_refuse(R.st) && ep[of(n)] == R.ep && pgen[of(n)] == gen && R.rg[n] -> refuse(n) }

    /* the freeze */
#ifndef BYE
#ifdef WAIT_IS_FREEZING
    :: d_step { ses[n] == RUN && rest[n] && w[n] == 0 && !op[n] && !fz[n] ->
#else
    :: d_step { ses[n] == RUN && rest[n] == 2 && w[n] == 0 && !op[n] && !fz[n] ->
#endif
        connect(of(n)); ses[n] = FROZEN; fz[n] = 1; fzep[n] = ep[of(n)]; fzgen[n] = pgen[of(n)] }
#endif
    :: d_step { (ses[n] == RUN || ses[n] == FROZEN) && rest[n] && w[n] == 0 -> finish(n, GONE) }
    :: d_step { ses[n] == GONE && R.rg[n] && !is_dead(of(n)) -> R.rg[n] = 0; R.rge[n] = 0; R.rgm[n] = RUNNING } /* leave */

    /* registration_ask(): also one that has acknowledged, and is not at rest yet */
    :: d_step { in_relay(n) && !op[n] && v[of(n)] >= term(n) && (!good[n] || unreg[n]) ->
        connect(of(n));
        op[n] = SENT; opkind[n] = (good[n] -> OP_REGISTER : OP_RESUME);
        oplevel[n] = v[of(n)]; opep[n] = ep[of(n)]; opgen[n] = pgen[of(n)] }
    :: d_step { op[n] == ANSWERED && in_relay(n) -> asked(n) }
    od
}

/* ---- a migrator ---- */

inline give_up(m) {
    ms[m] = M_IDLE; me[m] = 0; intent[m] = 0; verified[m] = 0;
    watch_end(m)
}

inline watch_end(m) {
    watching[m] = 0; same[m] = 0; silent[m] = 0; wgen[m] = 0;
    for (i : 0 .. NP - 1) { vold[i] = vold[i] & ~BIT(m); rqold[i] = rqold[i] & ~BIT(m) };
    skip
}

inline watch_begin(m) {
    watching[m] = 1; same[m] = 0; silent[m] = 0; wgen[m] = gen;
    for (i : 0 .. NP - 1) {
        if
        :: some(i, has_registration) ->
            same[m] = same[m] | BIT(i);
            if :: v[i] -> vold[i] = vold[i] | BIT(m) :: else fi;
            if :: rq[i] -> rqold[i] = rqold[i] | BIT(m) :: else fi
        :: else
        fi
    };
    skip
}

/* What a proxy that has not seen the engagement is waited for, is the long term. */
#ifdef SHORT_TERM
#define wanted(m, p) 2
#else
#define has_seen(m, n) (!R.rg[n] || R.rge[n] >= me[m])
#if NS > NP
#define wanted(m, p) ((has_seen(m, p) && has_seen(m, p + NP)) -> 2 : 1)
#else
#define wanted(m, p) (has_seen(m, p) -> 2 : 1)
#endif
#endif
/* A whole term of silence, more by the margins than what any renewal from before it gives: the longer of the watcher's own
 * and the one that the proxy told. */
#ifdef OWN_TERMS
#define term_over(m, p) true
#else
#define term_over(m, p) (!((vold[p] & BIT(m)) && v[p] >= wanted(m, p)))
#endif

inline judge(m, p) {
    silent[m] = silent[m] | BIT(p);
    if
    :: (rqold[p] & BIT(m)) && rqdead[p] < 3 - wanted(m, p) -> rqdead[p] = 3 - wanted(m, p)
    :: else
    fi
}

inline all_are(m, mode, yes) {
    yes = 1;
    for (i : 0 .. NS - 1) { if :: R.rg[i] && (R.rgm[i] != mode || R.rge[i] != me[m]) -> yes = 0 :: else fi }
}

proctype Migrator(byte m) {
end_waits:
    do
    :: d_step { ms[m] == M_IDLE && R.st >= QUEUED && R.st <= FLIPPING &&
        R.own != m + 1 && (claims < CLAIMS || (R.own && ms[R.own - 1] == M_DEAD)) ->
        claims++;
        claim(m);
        /* A command of the owner before us may still be under way at the target: its connection is closed. */
#ifndef NO_SETTLE
        for (i : 0 .. NM - 1) { intent[i] = 0 }
#endif
        }

    :: d_step { ms[m] == M_COPY ->
        if
        :: mine(m) && R.st == COPYING -> R.st = READY; ms[m] = M_WATCH
        :: else -> give_up(m)
        fi }

    :: d_step { ms[m] == M_WATCH && !watching[m] -> watch_begin(m) }
    :: d_step { ms[m] == M_WATCH && watching[m] && (same[m] == 0 || wgen[m] != gen) -> watch_end(m) }
    :: d_step { ms[m] == M_WATCH && some(0, has_registration) && (same[m] & ~silent[m] & 1) && term_over(m, 0) -> judge(m, 0) }
    :: d_step { ms[m] == M_WATCH && (silent[m] & 1) -> evict(m, 0); silent[m] = silent[m] & ~1; same[m] = same[m] & ~1 }
#if NP > 1
    :: d_step { ms[m] == M_WATCH && some(1, has_registration) && (same[m] & ~silent[m] & 2) && term_over(m, 1) -> judge(m, 1) }
    :: d_step { ms[m] == M_WATCH && (silent[m] & 2) -> evict(m, 1); silent[m] = silent[m] & ~2; same[m] = same[m] & ~2 }
#endif
    :: d_step { ms[m] == M_WATCH && !(mine(m) && quarantine) ->
        if
        :: mine(m) && R.st == READY -> watch_end(m); prepare(m); ms[m] = M_PREPARE
        :: else -> give_up(m)
        fi }

    /* SIGN_INS: waits until all are prepared, or gone */
    :: d_step { ms[m] == M_PREPARE -> all_are(m, PREPARED, yes);
        if
        :: !mine(m) -> give_up(m)
        :: mine(m) && yes && R.st == PREPARING && !quarantine && !late -> R.st = FREEZING; ms[m] = M_REST
        :: mine(m) && !yes && R.st == PREPARING && !late
        :: else -> ms[m] = M_ABORT
        fi }

    :: d_step { ms[m] == M_REST -> all_are(m, RESTS, yes); if :: yes -> replicate(); ms[m] = M_LAST :: else fi }
    :: d_step { ms[m] == M_REST && (late || R.st != FREEZING) -> ms[m] = M_ABORT }

    /* The last delta, and the comparison: the intent, a script that the owner alone may run; then what was meant. */
    :: d_step { ms[m] == M_LAST -> if :: mine(m) -> intent[m] = 1; ms[m] = M_APPLY :: else -> give_up(m) fi }
    :: d_step { ms[m] == M_APPLY ->
        if
        :: intent[m] ->
            assert(!ackT); /* a late delta would undo what a client was told OK for */
            intent[m] = 0;
            for (i : 0 .. NS - 1) { if :: w[i] == DONE -> copied[i] = 1 :: else fi }
            ackS = 0;
            verified[m] = 1;
            ms[m] = M_FLIP
        :: else -> give_up(m)
        fi }

    :: d_step { ms[m] == M_FLIP ->
        if
        :: !mine(m) -> give_up(m)
        :: mine(m) && R.st == FLIPPING -> ms[m] = M_KEPT
        :: mine(m) && R.st == FREEZING && !quarantine && !late ->
            all_are(m, RESTS, yes);
            assert(yes); /* nothing begins to run again in a freeze */
            flip(m);
            ms[m] = M_KEPT
        :: else -> ms[m] = M_ABORT
        fi }

    :: d_step { ms[m] == M_KEPT ->
        if
        :: !mine(m) -> give_up(m)
#ifndef KEPT_BLIND
        :: mine(m) && R.st != FLIPPING -> ms[m] = M_ABORT
#endif
        :: else ->
#ifndef NO_WAIT
            replicate();
#endif
            ms[m] = M_JOURNAL
        fi }
    :: d_step { ms[m] == M_JOURNAL -> journal[m] = 1; journaled = 1; ms[m] = M_PUBLISH; assert(SAFE) }
    :: d_step { ms[m] == M_PUBLISH ->
        if :: mine(m) && R.st == FLIPPING -> flipped(m) :: else fi;
        give_up(m) }

    :: d_step { ms[m] == M_ABORT ->
        if
        :: !mine(m) -> give_up(m)
        :: mine(m) && R.st == FLIPPING -> ms[m] = M_KEPT
        :: else ->
            if :: may_thaw(R.st) -> set_ready() :: else fi;
            /* then backoff, and queued again when its time has come */
            if :: R.st == READY || R.st == COPYING -> R.st = QUEUED; R.own = 0 :: else fi;
            give_up(m)
        fi;
        assert(SAFE) }
#if CRASHES
    :: atomic { crashes < CRASHES && ms[m] != M_IDLE -> d_step { crashes++; give_up(m); ms[m] = M_DEAD }; break }
#endif
    od
}

/* ---- Redis: messages arrive, time passes, the master changes ---- */

inline arrive(n) {
    if
    :: opkind[n] == OP_ENTER -> enter(n)
    :: opkind[n] == OP_RESUME -> resume(n)
    :: opkind[n] == OP_REGISTER -> register(n)
    fi;
    op[n] = ANSWERED
}

inline failover() {
#if FAILOVERS
    if :: late && R.ep == C.ep && C.st == R.st :: else -> late = 0 fi;
    R.st = C.st; R.ep = C.ep; R.own = C.own; R.bk = C.bk;
    C.st = 0; C.ep = 0; C.own = 0; C.bk = 0;
    replica = 0; failovers++; gen = 1 - gen;
#ifndef NO_QUARANTINE
    quarantine = 1;
#endif
    for (i : 0 .. NS - 1) {
        R.rg[i] = C.rg[i]; R.rge[i] = C.rge[i]; R.rgm[i] = C.rgm[i];
        C.rg[i] = 0; C.rge[i] = 0; C.rgm[i] = 0;
        fz[i] = 0; fzep[i] = 0; fzgen[i] = 0
    };
    for (k : 0 .. NS - 1) {
        if
        :: op[k] == SENT && opkind[k] == OP_ENTER -> drop(k)
        :: op[k] == SENT && opkind[k] != OP_ENTER -> op_clear(k)
        :: op[k] != SENT
        fi
    };
    for (i : 0 .. NP - 1) { if :: rq[i] == SENT -> rq[i] = 0; rqold[i] = 0; rqdead[i] = 0 :: else fi };
#ifndef NO_THAW
    if :: may_thaw(R.st) -> set_ready() :: else fi;
#endif
    assert(SAFE)
#endif
}

proctype Redis() {
end_waits:
    do
#if FIRST == 0
    :: d_step { R.st == RESTING -> R.st = QUEUED } /* enqueue, by staff */
#endif
    :: d_step { op[0] == SENT -> arrive(0) }
    :: d_step { fz[0] -> frozen(0) }
    :: d_step { rq[0] == SENT -> renew(0); rq[0] = ANSWERED }
#if NS > 1
    :: d_step { op[1] == SENT -> arrive(1) }
    :: d_step { fz[1] -> frozen(1) }
#endif
#if NP > 1
    :: d_step { rq[1] == SENT -> renew(1); rq[1] = ANSWERED }
#endif
#if FAILOVERS
    :: d_step { !replica && failovers < FAILOVERS -> replica = 1; replicate() }
    :: d_step { replica -> failover() }
    /* It lasts until no lease holds that the old master gave. */
    :: d_step { quarantine && (v[0] == 0 || vgen[0] == gen)
#if NP > 1
        && (v[1] == 0 || vgen[1] == gen)
#endif
        -> quarantine = 0;
        for (i : 0 .. NP - 1) { if :: rq[i] == ANSWERED && rqgen[i] != gen -> rqdead[i] = 2 :: else fi };
        skip }
#endif
    od
}

/* The deadline passes, and then there is somebody who notices. */
proctype Deadline() {
end_waits:
    do
    :: d_step { may_thaw(R.st) && !late -> late = 1 }
    :: d_step { may_thaw(R.st) && late -> thaw() }
    od
}

#ifdef LIVE
#define frozen_now (R.st >= PREPARING && R.st <= FLIPPING)
ltl freeze_ends { [] (frozen_now -> <> !frozen_now) }
#endif

init {
    d_step {
        R.st = FIRST;
        for (i : 0 .. NP - 1) { v[i] = 2 }
        /* One session is there from the beginning (LOGIN: not even that); the others log in when they like. */
#ifndef LOGIN
        ses[0] = RUN; good[0] = 1; R.rg[0] = 1; eng[0] = engaged(R.st); known[0] = eng[0]
#endif
    }
    atomic {
        run Redis(); run Deadline();
        for (i : 0 .. NP - 1) { run Proxy(i) }
        for (i : 0 .. NS - 1) { run Session(i) }
        for (i : 0 .. NM - 1) { run Migrator(i) }
    }
}
