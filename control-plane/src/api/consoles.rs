//! The consoles: files that the build of the program embedded, served beside the API, `/console/` for customers and `/admin/` for operators.
//!
//! A path that is no file is the portal's first page, because the portal itself knows its pages; a file that is missing is 404. Hashed
//! files live for a year, pages are asked for again and answered with 304 (RFC 9110 §13.1.2). Nothing here knows who asks: whatever a
//! portal shows comes by the API. Scripts come from this host only, and none stands within a page (T-WEB-01).

use std::fmt;

use axum::Router;
use axum::body::Body;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, LOCATION, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use axum::routing::get;

/// What a portal may load: scripts and data of this host. Styles may stand in the page, because the components of the portals set their
/// colours so; a style runs nothing.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// The portals, by the folder that they are served from.
const PORTALS: [&str; 2] = ["console", "admin"];

/// A file of a portal.
#[derive(Clone, Copy)]
pub struct File {
    /// Its path below the root of the listener, without the first `/`: `console/index.html`.
    pub path: &'static str,
    /// What it is, for `Content-Type`.
    pub content_type: &'static str,
    /// A hash of its bytes, in hex digits.
    pub tag: &'static str,
    /// Whether its name changes with its bytes, so that it may be kept.
    pub hashed: bool,
    /// The bytes as they were built.
    pub plain: &'static [u8],
    /// The same, packed by gzip.
    pub gzip: &'static [u8],
    /// The same, packed by Brotli.
    pub brotli: &'static [u8],
}

/// The files of both portals; empty when the build had none.
#[derive(Clone, Copy)]
pub struct Consoles(pub &'static [File]);

impl fmt::Debug for Consoles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Consoles({} files)", self.0.len())
    }
}

impl Consoles {
    /// Their paths, to stand on the API's listener.
    pub(super) fn router(self) -> Router {
        let serve = move |uri: Uri, headers: HeaderMap| async move { self.answer(uri.path(), &headers) };
        let mut router = Router::new().route("/", get(|| async { page(StatusCode::OK, FRONT) }));
        for portal in PORTALS {
            router = router
                .route(&format!("/{portal}"), get(move || async move { moved(portal) }))
                .route(&format!("/{portal}/"), get(serve))
                .route(&format!("/{portal}/{{*path}}"), get(serve));
        }
        router
    }

    /// What a GET of this path is answered with.
    fn answer(self, path: &str, headers: &HeaderMap) -> Response {
        let path = path.trim_start_matches('/');
        if self.0.is_empty() {
            return page(StatusCode::OK, NOT_BUILT);
        }
        let found = |path: &str| self.0.iter().find(|file| file.path == path);
        if let Some(file) = found(path) {
            return send(file, headers);
        }
        // A page of the portal has no dot in its last part; whatever has one was meant to be a file.
        let is_page = path.rsplit('/').next().is_some_and(|last| !last.contains('.'));
        let portal = path.split('/').next().unwrap_or_default();
        match found(&format!("{portal}/index.html")).filter(|_| is_page && !path.contains("/assets/")) {
            Some(index) => send(index, headers),
            None => page(StatusCode::NOT_FOUND, MISSING),
        }
    }
}

/// The file in the smallest form that the browser takes, or 304 when it has it.
fn send(file: &File, headers: &HeaderMap) -> Response {
    let (bytes, encoding, suffix) = if accepts(headers, "br") {
        (file.brotli, Some("br"), "-br")
    } else if accepts(headers, "gzip") {
        (file.gzip, Some("gzip"), "-gz")
    } else {
        (file.plain, None, "")
    };
    // Each form has a tag of its own: they differ byte for byte (RFC 9110 §8.8.3).
    let tag = format!("\"{}{suffix}\"", file.tag);
    let lives = if file.hashed { "public, max-age=31536000, immutable" } else { "no-cache" };
    let known = texts(headers, &IF_NONE_MATCH)
        .any(|text| text.split(',').map(str::trim).any(|t| t == "*" || t.trim_start_matches("W/") == tag));
    let mut response = Response::builder()
        .header(ETAG, &tag)
        .header(CACHE_CONTROL, lives)
        .header(VARY, "accept-encoding")
        .header(CONTENT_SECURITY_POLICY, POLICY)
        .header(X_CONTENT_TYPE_OPTIONS, "nosniff")
        .header(REFERRER_POLICY, "no-referrer")
        .header("cross-origin-opener-policy", "same-origin");
    if known {
        return built(response.status(StatusCode::NOT_MODIFIED).body(Body::empty()));
    }
    if let Some(encoding) = encoding {
        response = response.header(CONTENT_ENCODING, encoding);
    }
    built(response.header(CONTENT_TYPE, file.content_type).body(Body::from(bytes)))
}

/// Whether `Accept-Encoding` takes this coding by its name; one with `q=0` is refused (RFC 9110 §12.5.3).
fn accepts(headers: &HeaderMap, coding: &str) -> bool {
    texts(headers, &ACCEPT_ENCODING).flat_map(|text| text.split(',')).any(|one| {
        let mut parts = one.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(coding));
        let refused =
            parts.any(|p| p.strip_prefix("q=").is_some_and(|q| q.chars().all(|c| matches!(c, '0' | '.'))));
        named && !refused
    })
}

fn texts<'h>(headers: &'h HeaderMap, name: &axum::http::HeaderName) -> impl Iterator<Item = &'h str> {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok())
}

fn moved(portal: &str) -> Response {
    let to = format!("/{portal}/");
    built(Response::builder().status(StatusCode::PERMANENT_REDIRECT).header(LOCATION, to).body(Body::empty()))
}

/// A page of ours that needs no script.
fn page(status: StatusCode, body: &'static str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>WARP</title></head><body>{body}</body></html>"
    );
    built(
        Response::builder()
            .status(status)
            .header(CONTENT_TYPE, "text/html; charset=utf-8")
            .header(CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'")
            .header(X_CONTENT_TYPE_OPTIONS, "nosniff")
            .header(CACHE_CONTROL, "no-cache")
            .body(Body::from(html)),
    )
}

fn built(response: Result<Response, axum::http::Error>) -> Response {
    response.unwrap_or_else(|_| {
        let mut broken = Response::new(Body::empty());
        *broken.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        broken
    })
}

const FRONT: &str = "<h1>WARP</h1><ul><li><a href=\"/console/\">Console</a> for customers</li>\
     <li><a href=\"/admin/\">Admin</a> for operators</li><li><a href=\"/api/docs\">API</a> for programs</li></ul>";
const NOT_BUILT: &str = "<h1>WARP</h1><p>This program was built without its consoles. To have them, say <code>scripts/ui build</code> in the source, which \
     needs Node.js 20.19 or newer, and build the program again. \
     The <a href=\"/api/docs\">API</a>, calls and messages do not need the consoles.</p>";
const MISSING: &str = "<h1>Not found</h1><p>There is no such file. <a href=\"/\">WARP</a></p>";

#[cfg(test)]
mod tests {
    use super::*;

    static FILES: [File; 3] = [
        File {
            path: "console/index.html",
            content_type: "text/html; charset=utf-8",
            tag: "aa",
            hashed: false,
            plain: b"page",
            gzip: b"gz",
            brotli: b"br",
        },
        File {
            path: "console/assets/a-1.js",
            content_type: "text/javascript; charset=utf-8",
            tag: "bb",
            hashed: true,
            plain: b"script",
            gzip: b"sgz",
            brotli: b"sbr",
        },
        File {
            path: "admin/index.html",
            content_type: "text/html; charset=utf-8",
            tag: "cc",
            hashed: false,
            plain: b"admin",
            gzip: b"gz",
            brotli: b"br",
        },
    ];

    fn get(path: &str, headers: &[(&'static str, &str)]) -> Response {
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            all.append(*name, value.parse().expect("a value"));
        }
        Consoles(&FILES).answer(path, &all)
    }

    fn header<'r>(response: &'r Response, name: &str) -> &'r str {
        response.headers().get(name).map_or("", |v| v.to_str().expect("text"))
    }

    #[test]
    fn pages_of_a_portal_are_its_first_page_and_missing_files_are_missing() {
        for page in ["/console/", "/console/index.html", "/console/calls", "/console/calls/call_1"] {
            let got = get(page, &[]);
            assert_eq!((got.status().as_u16(), header(&got, "etag")), (200, "\"aa\""), "{page}");
            assert_eq!(header(&got, "cache-control"), "no-cache");
        }
        assert_eq!(header(&get("/admin/vendors", &[]), "etag"), "\"cc\"");
        let script = get("/console/assets/a-1.js", &[]);
        assert_eq!(header(&script, "cache-control"), "public, max-age=31536000, immutable");
        assert_eq!(header(&script, "content-type"), "text/javascript; charset=utf-8");
        for none in
            ["/console/assets/a-2.js", "/console/assets/a", "/console/x.map", "/console/../x.txt", "/other/"]
        {
            assert_eq!(get(none, &[]).status().as_u16(), 404, "{none}");
        }
    }

    #[test]
    fn the_smallest_form_that_is_taken_is_sent_and_each_has_its_tag() {
        let form = |accept: &str| {
            let got = get("/console/", &[("accept-encoding", accept)]);
            assert_eq!(header(&got, "vary"), "accept-encoding");
            (header(&got, "content-encoding").to_owned(), header(&got, "etag").to_owned())
        };
        let said = |encoding: &str, tag: &str| (encoding.to_owned(), tag.to_owned());
        assert_eq!(form("gzip, deflate, br"), said("br", "\"aa-br\""));
        assert_eq!(form("gzip;q=0.5, br;q=0"), said("gzip", "\"aa-gz\""));
        assert_eq!(form("identity"), said("", "\"aa\""));
        assert_eq!(form("brotli, gzippy"), said("", "\"aa\""));
    }

    #[test]
    fn who_has_it_hears_304() {
        let with = |tags: &str| {
            get("/console/", &[("accept-encoding", "br"), ("if-none-match", tags)]).status().as_u16()
        };
        assert_eq!(with("\"aa-br\""), 304);
        assert_eq!(with("\"x\", W/\"aa-br\""), 304);
        assert_eq!(with("*"), 304);
        // Another form is another text.
        assert_eq!(with("\"aa\""), 200);
    }

    #[test]
    fn t_web_01_scripts_come_from_this_host_only_and_no_page_is_framed() {
        for path in ["/console/", "/console/assets/a-1.js"] {
            let got = get(path, &[]);
            let policy = header(&got, "content-security-policy");
            assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
            assert!(
                policy.contains("frame-ancestors 'none'") && policy.contains("base-uri 'none'"),
                "{policy}"
            );
            assert_eq!(header(&got, "x-content-type-options"), "nosniff");
        }
        assert_eq!(
            header(&get("/console/none.js", &[]), "content-security-policy"),
            "default-src 'none'; frame-ancestors 'none'"
        );
    }

    #[test]
    fn a_build_without_consoles_says_what_is_missing() {
        let got = Consoles(&[]).answer("/console/", &HeaderMap::new());
        assert_eq!(got.status().as_u16(), 200);
        assert!(NOT_BUILT.contains("scripts/ui build"));
    }
}
