#include "date.h"

static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

static const struct {
    const char *name;
    int16_t zone;
} zones[] = {{"UT", 0},     {"UTC", 0},    {"GMT", 0},    {"Z", 0},      {"EST", -300}, {"EDT", -240},
             {"CST", -360}, {"CDT", -300}, {"MST", -420}, {"MDT", -360}, {"PST", -480}, {"PDT", -420}};

/* Days since 1970-01-01 of a date of the proleptic Gregorian calendar. */
static int64_t days_of(int64_t year, unsigned month, unsigned day)
{
    /* Years that begin in March: the leap day is then the last of its year. */
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    unsigned of_era = (unsigned)(year - era * 400);
    unsigned of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    unsigned day_of_era = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    return era * 146097 + (int64_t)day_of_era - 719468;
}

static void date_of(int64_t days, int64_t *year, unsigned *month, unsigned *day)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    unsigned of_era = (unsigned)(days - era * 146097);
    unsigned years = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    unsigned of_year = of_era - (365 * years + years / 4 - years / 100);
    unsigned shifted = (5 * of_year + 2) / 153;
    *day = of_year - (153 * shifted + 2) / 5 + 1;
    *month = shifted < 10 ? shifted + 3 : shifted - 9;
    *year = (int64_t)years + era * 400 + (*month <= 2);
}

static unsigned days_in(unsigned year, unsigned month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : days[month - 1];
}

/* Cuts a number of at least min and at most max digits off *s. */
static bool date_take_number(struct span *s, size_t min, size_t max, unsigned *_n)
{
    size_t digits = 0;
    unsigned n = 0;
    while (digits < s->len && digits < max && s->p[digits] >= '0' && s->p[digits] <= '9')
        n = n * 10 + (s->p[digits++] - '0');
    if (digits < min)
        return false;
    *s = span_of(s->p + digits, s->len - digits);
    *_n = n;
    return true;
}

static bool take_char(struct span *s, char c)
{
    if (s->len == 0 || s->p[0] != c)
        return false;
    *s = span_of(s->p + 1, s->len - 1);
    return true;
}

static bool take_month(struct span *s, unsigned *_month)
{
    for (unsigned m = 0; s->len >= 3 && m < 12; m++) {
        char name[4] = {months[3 * m], months[3 * m + 1], months[3 * m + 2], 0};
        if (!span_is_ci(span_of(s->p, 3), name))
            continue;
        *s = span_of(s->p + 3, s->len - 3);
        *_month = m + 1;
        return true;
    }
    return false;
}

static bool read_zone(struct span s, int16_t *_zone)
{
    unsigned hours, minutes;
    *_zone = 0;
    if (s.len == 0)
        return true;
    for (size_t i = 0; i < COUNTOF(zones); i++)
        if (span_is_ci(s, zones[i].name)) {
            *_zone = zones[i].zone;
            return true;
        }
    bool west = s.p[0] == '-';
    if (!take_char(&s, west ? '-' : '+') || !date_take_number(&s, 2, 2, &hours) ||
        !date_take_number(&s, 2, 2, &minutes) || s.len > 0 || minutes > 59)
        return false;
    int east = (int)(hours * 60 + minutes);
    *_zone = (int16_t)(west ? -east : east);
    return true;
}

bool date_parse(struct span s, struct mail_date *_r)
{
    unsigned day, month, year, hour, minute, second;
    int16_t zone;
    take_char(&s, ' ');
    if (!date_take_number(&s, 1, 2, &day) || !take_char(&s, '-') || !take_month(&s, &month) ||
        !take_char(&s, '-') || !date_take_number(&s, 4, 4, &year) || !take_char(&s, ' ') ||
        !date_take_number(&s, 2, 2, &hour) || !take_char(&s, ':') || !date_take_number(&s, 2, 2, &minute) ||
        !take_char(&s, ':') || !date_take_number(&s, 2, 2, &second))
        return false;
    if (year == 0 || day == 0 || day > days_in(year, month) || hour > 23 || minute > 59 || second > 60)
        return false;
    if ((s.len > 0 && !take_char(&s, ' ')) || !read_zone(s, &zone))
        return false;
    int64_t local = days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
    *_r = (struct mail_date){local - zone * 60, zone};
    return true;
}

void date_format(struct buf *out, struct mail_date d)
{
    int64_t local = d.instant + d.zone * 60, year;
    int64_t days = local / 86400, seconds = local % 86400;
    unsigned month, day, east = (unsigned)(d.zone < 0 ? -d.zone : d.zone);
    if (seconds < 0) {
        seconds += 86400;
        days--;
    }
    date_of(days, &year, &month, &day);
    buf_printf(out, "%2u-%.3s-%04lld %02u:%02u:%02u %c%02u%02u", day, months + 3 * (month - 1),
               (long long)year, (unsigned)(seconds / 3600), (unsigned)(seconds / 60 % 60),
               (unsigned)(seconds % 60), d.zone < 0 ? '-' : '+', east / 60, east % 60);
}
