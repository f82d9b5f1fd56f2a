/* The cut-over of one account (DESIGN.md section 6): proxies with one session each, migrators, and Redis.
 *
 * Every inline of the section "scripts" is the script of lib/route/ of that name, and one step of Redis. README.md says
 * how time, messages and faults are put, what is checked, and what is left out.
 *
 * Sizes: NP proxies, NM migrators, CLAIMS claims of the job in all, FAILOVERS changes of master, CRASHES programs that
 * are killed. LIVE: checks that a freeze ends. BYE: sessions never rest, they end (the proxy without hand-over).
 * The weakened variants are the other names asked for by #ifdef: run.py lists them. */

#ifndef NP
#define NP 2
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
    bit rg[NP];         /* a registration of the proxy's session */
    byte rge[NP];       /* the epoch that it has seen */
    byte rgm[NP]        /* its mode */
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

/* A proxy's session. */
#define NONE   0        /* not logged in yet */
#define READ   1        /* the route was read, signing in */
#define ENTER  2        /* `enter` was sent */
#define RUN    3        /* told OK */
#define FROZEN 4        /* at rest: `frozen` was sent */
#define MOVED  5        /* handed over, or logged in, at the target */
#define GONE   6        /* ended */
byte ses[NP];
byte rest[NP];          /* passes no new command: 1 `resume` or `register` said wait, 2 heard of freezing in epoch ep */
bit eng[NP];            /* knows that the account is engaged: the short term counts */
byte ep[NP];            /* the epoch that the proxy knows */
bit good[NP];           /* no lapse of its term since `enter` or `resume` was sent */
bit unreg[NP];          /* a new master may have lost the registration */

/* A command that changes the source, and its OK. */
#define FLIGHT 1        /* sent; the source executes it at any later time */
#define DONE   2        /* executed; the OK is on its way, or was read */
byte w[NP];
bit clock[NP];          /* the lease was found valid, the OK may be passed on */
bit copied[NP];         /* the target has it */

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
byte op[NP], opkind[NP], opres[NP], opst[NP], opep[NP];
bit opgen[NP];
byte oplevel[NP];       /* the level of the lease that has held since it was sent */
bit fz[NP];
byte fzep[NP];
bit fzgen[NP];

/* Migrators, as in migrator/job.h and cutover.h. */
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

hidden byte i;          /* of loops within a step */
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
#define term(p) (eng[p] -> 2 : 1)
#define in_relay(p) (ses[p] == RUN || ses[p] == FROZEN)
#define BIT(x) (1 << x)

/* session_may_pass() */
#ifdef RENEW_FIRST
#define registered(p) true
#else
#define registered(p) (!unreg[p])
#endif
#define may_pass(p) (v[p] >= term(p) && good[p] && registered(p))

/* ---- scripts ---- */

inline set_ready() { R.st = READY; late = 0; }

/* thaw: by anybody, after the deadline */
inline thaw() { if :: may_thaw(R.st) && late -> set_ready() :: else fi; assert(SAFE) }

inline enter(p) {
    if
#ifdef ENTER_EPOCH
    :: opep[p] == R.ep -> R.rg[p] = 1; R.rge[p] = R.ep; R.rgm[p] = RUNNING; opres[p] = OK
    :: else -> opres[p] = AGAIN
#else
    :: opgen[p] != gen -> opres[p] = AGAIN
    :: else ->
        if
        :: may_thaw(R.st) && late -> set_ready(); opres[p] = AGAIN
        :: else ->
            if
            :: frozen_state(R.st) || R.bk != SOURCE || opst[p] != R.st || opep[p] != R.ep -> opres[p] = AGAIN
            :: else -> R.rg[p] = 1; R.rge[p] = R.ep; R.rgm[p] = RUNNING; opres[p] = OK
            fi
        fi
#endif
    fi;
    opst[p] = R.st; opep[p] = R.ep
}

inline resume(p) {
    if
    :: !R.rg[p] || opgen[p] != gen || R.bk != SOURCE || R.rge[p] > opep[p] || opep[p] > R.ep -> opres[p] = LOST
    :: else -> opres[p] = (frozen_state(R.st) -> WAIT : OK)
    fi
}

inline register(p) {
    if
    :: opgen[p] != gen || R.bk != SOURCE -> opres[p] = LOST
    :: else ->
        if
        :: frozen_state(R.st) -> opres[p] = (R.rg[p] -> WAIT : LOST)
        :: else ->
            opres[p] = OK;
            if
            :: R.rg[p] && R.rgm[p] == RUNNING
            :: else -> R.rg[p] = 1; R.rgm[p] = RUNNING; R.rge[p] = (opep[p] < R.ep -> opep[p] : R.ep)
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
inline seen(p) {
    if
    :: pgen[p] == gen && R.rg[p] && ep[p] <= R.ep && R.rge[p] < ep[p] -> R.rge[p] = ep[p]; R.rgm[p] = RUNNING
    :: else
    fi
}

inline frozen(p) {
    if
#ifdef NO_EPOCH_ACK
    :: R.rg[p] && fzgen[p] == gen && R.st == FREEZING -> R.rgm[p] = RESTS; R.rge[p] = R.ep
#else
    :: R.rg[p] && fzgen[p] == gen && fzep[p] == R.ep && R.st == FREEZING -> R.rgm[p] = RESTS; R.rge[p] = R.ep
#endif
    :: else
    fi;
    fz[p] = 0; fzep[p] = 0; fzgen[p] = 0
}

/* prepared, refuse: sent by a proxy that knows epoch ep[p], which both compare; they come when they come. */
inline prepared(p) { R.rgm[p] = PREPARED; R.rge[p] = R.ep }
inline refuse(p) { set_ready(); assert(SAFE) }
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
#ifdef EVICT_BLIND
        R.rg[p] = 0; R.rge[p] = 0; R.rgm[p] = RUNNING
#else
        if :: same[m] & BIT(p) -> R.rg[p] = 0; R.rge[p] = 0; R.rgm[p] = RUNNING :: else fi
#endif
    fi
}

inline prepare(m) {
    for (i : 0 .. NP - 1) { R.rgm[i] = RUNNING }
    R.st = PREPARING; R.ep++; me[m] = R.ep; late = 0; verified[m] = 0
}

inline flip(m) {
    assert(verified[m]); /* no flip without a verification of this attempt */
    R.st = FLIPPING; late = 0
}

inline flipped(m) {
    R.st = FLIPPED; R.bk = TARGET; R.ep++; R.own = 0;
    for (i : 0 .. NP - 1) { R.rg[i] = 0; R.rge[i] = 0; R.rgm[i] = RUNNING }
    assert(SAFE)
}

/* WAIT: the replica has what the master had. */
inline replicate() {
#if FAILOVERS
    if
    :: replica ->
        C.st = R.st; C.ep = R.ep; C.own = R.own; C.bk = R.bk;
        for (i : 0 .. NP - 1) { C.rg[i] = R.rg[i]; C.rge[i] = R.rge[i]; C.rgm[i] = R.rgm[i] }
    :: else
    fi
#else
    skip
#endif
}

/* ---- a proxy ---- */

inline op_clear(p) { op[p] = 0; opkind[p] = 0; opres[p] = 0; opst[p] = 0; opep[p] = 0; opgen[p] = 0; oplevel[p] = 0 }

/* The session ends; what it has under way at the source is never acknowledged. `leave` comes when it comes. A login
 * that failed may be tried again. */
inline drop(p) {
    ses[p] = NONE; rest[p] = 0; eng[p] = 0; ep[p] = 0; good[p] = 0; unreg[p] = 0;
    w[p] = 0; clock[p] = 0; copied[p] = 0;
    op_clear(p)
}

/* A proxy whose only session is over has no lease to speak of. */
inline finish(p, how) {
    drop(p);
    ses[p] = how;
    v[p] = 0; vold[p] = 0; vgen[p] = 0; lgen[p] = 0; pgen[p] = 0;
    rq[p] = 0; rqold[p] = 0; rqdead[p] = 0; rqgen[p] = 0
}

inline moved(p) { finish(p, MOVED); ackT = 1; assert(SAFE) }

/* Before anything is sent: a connection to another master says hello, and what waited on the old one has failed. */
inline connect(p) {
    if
    :: pgen[p] != gen ->
        pgen[p] = gen;
        if :: op[p] && opkind[p] == OP_ENTER -> drop(p) :: op[p] && opkind[p] != OP_ENTER -> op_clear(p)
        :: !op[p] fi;
        if :: rq[p] == ANSWERED -> rq[p] = 0; rqold[p] = 0; rqdead[p] = 0; rqgen[p] = 0 :: else fi
    :: else
    fi
}

/* accounts_heard(): what the route is now; how late a proxy hears of it is when it takes this step. */
inline hear(p) {
    if
    :: R.bk == TARGET && ses[p] == FROZEN -> moved(p)
    :: (R.bk == TARGET || R.st == FLIPPING) && ses[p] == RUN -> finish(p, GONE)
    :: else ->
        if
        :: !eng[p] && engaged(R.st) -> good[p] = may_pass(p) && v[p] == 2; eng[p] = 1
        :: else
        fi;
        if
        :: R.st == FREEZING ->
            /* What was acknowledged for another attempt does not count for this one. */
            if :: ses[p] == FROZEN && ep[p] != R.ep -> ses[p] = RUN :: else fi;
            rest[p] = 2
        :: R.st != FREEZING && R.st != FLIPPING -> ses[p] = RUN; rest[p] = 0
        :: R.st == FLIPPING
        fi;
        ep[p] = R.ep
    fi
}

#define news(p) (ep[p] != R.ep || R.bk == TARGET || (R.st == FLIPPING && ses[p] == RUN) || (R.st == FREEZING && rest[p] != 2) \
                 || (R.st < FREEZING && rest[p]) \
                 || (!eng[p] && engaged(R.st)) || (ses[p] == FROZEN && R.st < FREEZING))

inline renewed(p) {
    /* LEASE_NEW_MASTER */
    if
    :: rqgen[p] != lgen[p] -> lgen[p] = rqgen[p]; unreg[p] = in_relay(p)
    :: else
    fi;
    if
    :: rqdead[p] < 2 && 2 - rqdead[p] >= v[p] -> v[p] = 2 - rqdead[p]; vold[p] = rqold[p]; vgen[p] = rqgen[p]
    :: else
    fi;
    rq[p] = 0; rqold[p] = 0; rqdead[p] = 0; rqgen[p] = 0
}

/* on_asked() */
inline asked(p) {
    if
    :: opres[p] == LOST && ses[p] == FROZEN -> op_clear(p) /* who rests waits for word */
    :: opres[p] == LOST && ses[p] != FROZEN -> finish(p, GONE)
    :: else ->
        unreg[p] = 0;
        if :: opkind[p] == OP_RESUME -> good[p] = oplevel[p] >= term(p) :: else fi;
        if :: opres[p] == WAIT && !rest[p] -> rest[p] = 1 :: else fi;
        op_clear(p)
    fi
}

/* entered() */
inline entered(p) {
    if
    :: opres[p] == OK ->
        eng[p] = engaged(opst[p]); ep[p] = opep[p];
        good[p] = oplevel[p] >= term(p);
        if
        :: may_pass(p) -> op_clear(p); ses[p] = RUN
        :: else -> finish(p, GONE)
        fi
    :: else -> op_clear(p); ses[p] = NONE
    fi
}

inline lapse(p, left) {
#ifdef LAPSES
    lapses++;
#endif
    v[p] = left;
    if :: left == 0 -> vold[p] = 0; vgen[p] = 0 :: else fi;
#ifndef UNNOTICED_LAPSE
    if :: left < term(p) && ses[p] != NONE -> good[p] = 0 :: else fi;
    if :: oplevel[p] > left -> oplevel[p] = left :: else fi
#endif
}

proctype Proxy(byte p) {
end_waits:
    do
    /* its lease */
    /* (one that would change nothing is not sent: this lease is younger than all watches, and of this master) */
    :: d_step { rq[p] == 0 && ses[p] < MOVED && (v[p] < 2 || vold[p] || lgen[p] != gen || vgen[p] != gen) ->
        connect(p); rq[p] = SENT }
    :: d_step { rq[p] == ANSWERED -> renewed(p) }
#if FIRST == 0
    :: d_step { v[p] == 2 -> lapse(p, 1) }
    :: d_step { v[p] == 1 -> lapse(p, 0) }
#else
    :: d_step { v[p] == 2 && may_lapse -> lapse(p, 0) } /* nobody is on the long term */
#endif

    /* a login */
    :: d_step { ses[p] == NONE && !frozen_state(R.st) && R.bk == SOURCE ->
        connect(p); ses[p] = READ; opst[p] = R.st; opep[p] = R.ep; opgen[p] = gen }
    :: d_step { ses[p] == NONE && R.bk == TARGET -> moved(p) }
    :: d_step { ses[p] == READ && v[p] == 2 ->
        connect(p);
        op[p] = SENT; opkind[p] = OP_ENTER; oplevel[p] = 2;
        ses[p] = ENTER;
#ifdef OK_BEFORE_ENTER
        eng[p] = engaged(opst[p]); ep[p] = opep[p]; good[p] = 1
#endif
        }
    :: d_step { op[p] == ANSWERED && ses[p] == ENTER -> entered(p) }

    /* commands; the clock is read after the bytes */
#ifdef OK_BEFORE_ENTER
    :: d_step { (ses[p] == RUN || ses[p] == ENTER) && !rest[p] && w[p] == 0 && may_pass(p) -> w[p] = FLIGHT }
#else
    :: d_step { ses[p] == RUN && !rest[p] && w[p] == 0 && may_pass(p) -> w[p] = FLIGHT }
#endif
    :: d_step { w[p] == FLIGHT -> w[p] = DONE }
#ifdef CLOCK_FIRST
    :: d_step { w[p] == FLIGHT && !clock[p] && may_pass(p) -> clock[p] = 1 }
#endif
#ifdef OK_AFTER_LEASE
    :: d_step { w[p] == DONE && !clock[p] -> clock[p] = 1 }
#else
    :: d_step { w[p] == DONE && !clock[p] && may_pass(p) -> clock[p] = 1 }
#endif
    :: d_step { w[p] == DONE && clock[p] ->
        ackS = ackS || !copied[p]; w[p] = 0; clock[p] = 0; copied[p] = 0;
        assert(SAFE) }

    /* news */
    :: d_step { in_relay(p) && news(p) -> hear(p) }
    :: d_step { in_relay(p) && eng[p] && R.rg[p] && R.rge[p] < ep[p] && pgen[p] == gen -> seen(p) }

    /* prepare.h: signed in at the target, which may refuse the session */
    :: d_step { ses[p] == RUN && R.st == PREPARING && ep[p] == R.ep && pgen[p] == gen && R.rg[p] && R.rgm[p] == RUNNING ->
        prepared(p) }
    :: d_step { in_relay(p) && may_refuse(R.st) && ep[p] == R.ep && pgen[p] == gen && R.rg[p] -> refuse(p) }

    /* the freeze */
#ifndef BYE
#ifdef WAIT_IS_FREEZING
    :: d_step { ses[p] == RUN && rest[p] && w[p] == 0 && !op[p] && !fz[p] ->
#else
    :: d_step { ses[p] == RUN && rest[p] == 2 && w[p] == 0 && !op[p] && !fz[p] ->
#endif
        connect(p); ses[p] = FROZEN; fz[p] = 1; fzep[p] = ep[p]; fzgen[p] = pgen[p] }
#endif
    :: d_step { (ses[p] == RUN || ses[p] == FROZEN) && rest[p] && w[p] == 0 -> finish(p, GONE) }
    :: d_step { ses[p] == GONE && R.rg[p] -> R.rg[p] = 0; R.rge[p] = 0; R.rgm[p] = RUNNING } /* leave */

    /* session_ask() */
    :: d_step { ses[p] == RUN && !op[p] && v[p] >= term(p) && (!good[p] || unreg[p]) ->
        connect(p);
        op[p] = SENT; opkind[p] = (good[p] -> OP_REGISTER : OP_RESUME);
        oplevel[p] = v[p]; opep[p] = ep[p]; opgen[p] = pgen[p] }
    :: d_step { op[p] == ANSWERED && in_relay(p) -> asked(p) }
#if CRASHES
    :: atomic { crashes < CRASHES && ses[p] < MOVED -> d_step { crashes++; finish(p, GONE) }; break }
#endif
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
        :: R.rg[i] ->
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
#define wanted(m, p) (R.rge[p] >= me[m] -> 2 : 1)
#endif
/* A whole term of silence, more by the margins than what any renewal from before it gives. */
#define term_over(m, p) (!((vold[p] & BIT(m)) && v[p] >= wanted(m, p)))

inline judge(m, p) {
    silent[m] = silent[m] | BIT(p);
    if
    :: (rqold[p] & BIT(m)) && rqdead[p] < 3 - wanted(m, p) -> rqdead[p] = 3 - wanted(m, p)
    :: else
    fi
}

inline all_are(m, mode, yes) {
    yes = 1;
    for (i : 0 .. NP - 1) { if :: R.rg[i] && (R.rgm[i] != mode || R.rge[i] != me[m]) -> yes = 0 :: else fi }
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
    :: d_step { ms[m] == M_WATCH && R.rg[0] && (same[m] & ~silent[m] & 1) && term_over(m, 0) -> judge(m, 0) }
    :: d_step { ms[m] == M_WATCH && (silent[m] & 1) -> evict(m, 0); silent[m] = silent[m] & ~1; same[m] = same[m] & ~1 }
#if NP > 1
    :: d_step { ms[m] == M_WATCH && R.rg[1] && (same[m] & ~silent[m] & 2) && term_over(m, 1) -> judge(m, 1) }
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
            for (i : 0 .. NP - 1) { if :: w[i] == DONE -> copied[i] = 1 :: else fi }
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

inline arrive(p) {
    if
    :: opkind[p] == OP_ENTER -> enter(p)
    :: opkind[p] == OP_RESUME -> resume(p)
    :: opkind[p] == OP_REGISTER -> register(p)
    fi;
    op[p] = ANSWERED
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
    for (i : 0 .. NP - 1) {
        R.rg[i] = C.rg[i]; R.rge[i] = C.rge[i]; R.rgm[i] = C.rgm[i];
        C.rg[i] = 0; C.rge[i] = 0; C.rgm[i] = 0;
        fz[i] = 0; fzep[i] = 0; fzgen[i] = 0;
        if :: rq[i] == SENT -> rq[i] = 0; rqold[i] = 0; rqdead[i] = 0 :: else fi;
        if
        :: op[i] == SENT && opkind[i] == OP_ENTER -> drop(i)
        :: op[i] == SENT && opkind[i] != OP_ENTER -> op_clear(i)
        :: op[i] != SENT
        fi
    }
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
#if NP > 1
    :: d_step { op[1] == SENT -> arrive(1) }
    :: d_step { fz[1] -> frozen(1) }
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
        ses[0] = RUN; good[0] = 1; R.rg[0] = 1; eng[0] = engaged(R.st)
#endif
    }
    atomic {
        run Redis(); run Deadline();
        for (i : 0 .. NP - 1) { run Proxy(i) }
        for (i : 0 .. NM - 1) { run Migrator(i) }
    }
}
