/* The files of ../page/, which are part of the program, and openapi.json. */
#include "lib/xalloc.h"

#include "api_priv.h"
#include "page_files.h"

/* Nothing but what this server gives out itself is run, shown or asked, and no text becomes markup. */
#define PAGE_POLICY                                                                                          \
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "          \
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "      \
    "trusted-types 'none'"

static const struct page_row {
    const char *path, *type;
    const struct page_file *file;
} rows[] = {
    {"/", "text/html; charset=utf-8", &page_file_index_html},
    {"/page.css", "text/css; charset=utf-8", &page_file_page_css},
    {"/page.js", "text/javascript; charset=utf-8", &page_file_page_js},
    {"/picture.js", "text/javascript; charset=utf-8", &page_file_picture_js},
    {"/icon.svg", "image/svg+xml", &page_file_icon_svg},
    {"/api/openapi.json", "application/json", &page_file_openapi_json},
};

struct api_file {
    struct api *api;
    const struct page_row *row;
};
enum { PAGE_ROWS = COUNTOF(rows) };

static void page_on_request(void *owner, struct http_request *r)
{
    const struct api_file *f = owner;

    if (!api_gate_page(f->api, r))
        return;
    http_add_header(r, "Content-Security-Policy", PAGE_POLICY);
    http_add_header(r, "X-Frame-Options", "DENY");
    http_add_header(r, "Referrer-Policy", "no-referrer");
    http_add_header(r, "Cross-Origin-Opener-Policy", "same-origin");
    http_add_header(r, "Cross-Origin-Resource-Policy", "same-origin");
    http_add_header(r, "Permissions-Policy", "camera=(), geolocation=(), microphone=()");
    http_answer_static(r, 200, f->row->type, span_of(f->row->file->text, f->row->file->len));
}

void api_page_route(struct api *a)
{
    a->files = xcalloc(PAGE_ROWS, sizeof(*a->files));
    for (size_t i = 0; i < PAGE_ROWS; i++) {
        a->files[i] = (struct api_file){a, &rows[i]};
        http_server_route(a->server, "GET", rows[i].path, page_on_request, &a->files[i]);
    }
}
