//! The Management Interface: the page at `/` and the files that it is made of.
//!
//! The page itself is asked for anew each time. It names its files below `/interface/<digest>/`,
//! where the digest is that of all files together, so that browsers may keep them for ever and
//! never mix those of two versions.

mod files;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, HeaderMap},
    web::{self, ServiceConfig},
};

use self::files::{File, Site};
use crate::{
    http::error::ApiError,
    service::{Authentication, Mount, Service, endpoint::Endpoint},
};

/// Everything comes from the appliance itself, nothing is inline, nobody may frame it. Audio that
/// was chosen for transcription is played from memory (`blob:`).
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; media-src 'self' blob:; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The Management Interface.
#[derive(Debug, Default)]
pub struct Interface;

impl Service for Interface {
    fn mounts(&self) -> Vec<Mount> {
        vec![Mount::new("", Authentication::Admin, routes)]
    }
}

fn routes(config: &mut ServiceConfig) {
    Endpoint::new("/").get(page).register(config);
    Endpoint::new("/interface/{digest}/{path:.+}").get(asset).register(config);
}

/// `GET /`: the page.
async fn page(request: HttpRequest) -> HttpResponse {
    let page = Site::get().page();
    answer(&request, page, "no-store")
}

/// `GET /interface/{digest}/{path}`: a file of this version.
async fn asset(
    request: HttpRequest,
    place: web::Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    let (digest, path) = place.into_inner();
    let site = Site::get();
    let file = site.file(&path).filter(|_| digest == site.digest());
    let file = file.ok_or_else(|| ApiError::NotFound("interface".into()))?;
    Ok(answer(&request, file, "public, max-age=31536000, immutable"))
}

fn answer(request: &HttpRequest, file: &'static File, cache_control: &'static str) -> HttpResponse {
    let known = lists(request.headers(), header::IF_NONE_MATCH, &file.etag);
    let mut response = if known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response
        .insert_header((header::ETAG, file.etag.as_str()))
        .insert_header((header::CACHE_CONTROL, cache_control))
        .insert_header((header::VARY, "Accept-Encoding"))
        .insert_header((header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY))
        .insert_header((header::REFERRER_POLICY, "same-origin"))
        .insert_header(("cross-origin-opener-policy", "same-origin"))
        .insert_header(("cross-origin-resource-policy", "same-origin"))
        .insert_header(("permissions-policy", "camera=(), geolocation=(), microphone=(self)"))
        .content_type(file.content_type);
    if known {
        return response.finish();
    }
    if takes_gzip(request.headers()) {
        response.insert_header((header::CONTENT_ENCODING, "gzip"));
        return response.body(file.compressed.clone());
    }
    response.body(file.plain.clone())
}

/// Whether a header is a list with `wanted` in it.
fn lists(headers: &HeaderMap, name: header::HeaderName, wanted: &str) -> bool {
    let values = headers.get_all(name).filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|item| {
        let item = item.trim();
        item == "*" || item.trim_start_matches("W/") == wanted.trim_start_matches("W/")
    })
}

/// Whether `Accept-Encoding` has gzip with a weight above nothing.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|item| {
        let (coding, weight) = item.split_once(';').unwrap_or((item, "q=1"));
        let weight = weight.trim().trim_start_matches("q=").parse::<f32>();
        coding.trim().eq_ignore_ascii_case("gzip") && weight.is_ok_and(|weight| weight > 0.0)
    })
}

#[cfg(test)]
mod tests {
    use actix_web::{
        App,
        body::MessageBody,
        http::StatusCode,
        test::{TestRequest, call_service, init_service},
    };

    use super::*;

    #[actix_web::test]
    async fn every_file_is_served_with_its_type_and_may_be_kept_for_ever() {
        let app = init_service(App::new().configure(routes)).await;
        let site = Site::get();
        for path in site.paths() {
            let uri = format!("/interface/{}/{path}", site.digest());
            let answer = call_service(&app, TestRequest::with_uri(&uri).to_request()).await;
            assert_eq!(answer.status(), StatusCode::OK, "{uri}");
            let header = |name| answer.headers().get(name).and_then(|v| v.to_str().ok());
            assert!(header(header::CACHE_CONTROL).unwrap().contains("immutable"), "{uri}");
            assert_ne!(header(header::CONTENT_TYPE), Some("application/octet-stream"), "{uri}");
            assert!(header(header::CONTENT_SECURITY_POLICY).unwrap().contains("frame-ancestors"));
        }
    }

    #[actix_web::test]
    async fn the_page_is_not_kept_and_names_the_files_of_its_version() {
        let app = init_service(App::new().configure(routes)).await;
        let answer = call_service(&app, TestRequest::with_uri("/").to_request()).await;
        assert_eq!(answer.headers().get(header::CACHE_CONTROL).unwrap(), "no-store");
        let body = answer.into_body().try_into_bytes().unwrap();
        let text = std::str::from_utf8(&body).unwrap();
        assert!(text.contains(&format!("/interface/{}/app.js", Site::get().digest())), "{text}");
        assert!(!text.contains("ASSETS"), "{text}");
    }

    #[actix_web::test]
    async fn what_a_browser_has_is_not_sent_again_and_other_versions_are_not_there() {
        let app = init_service(App::new().configure(routes)).await;
        let site = Site::get();
        let uri = format!("/interface/{}/app.js", site.digest());
        let known = (header::IF_NONE_MATCH, site.file("app.js").unwrap().etag.as_str());
        let request = TestRequest::with_uri(&uri).insert_header(known).to_request();
        assert_eq!(call_service(&app, request).await.status(), StatusCode::NOT_MODIFIED);
        for uri in
            ["/interface/0000000000000000/app.js", &format!("/interface/{}/nope.js", site.digest())]
        {
            let answer = call_service(&app, TestRequest::with_uri(uri).to_request()).await;
            assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{uri}");
        }
        let post = TestRequest::post().uri("/").to_request();
        let answer = call_service(&app, post).await;
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.headers().get(header::ALLOW).unwrap(), "GET, HEAD");
    }

    #[test]
    fn compression_is_used_where_it_is_asked_for() {
        for (value, takes) in [
            ("gzip, deflate, br", true),
            ("br;q=1.0, gzip;q=0.8", true),
            ("gzip;q=0", false),
            ("identity", false),
        ] {
            let request = TestRequest::default()
                .insert_header((header::ACCEPT_ENCODING, value))
                .to_http_request();
            assert_eq!(takes_gzip(request.headers()), takes, "{value}");
        }
    }

    #[test]
    fn the_whole_is_small_on_the_wire() {
        let total: usize = Site::get().compressed_size();
        assert!(total < 200_000, "{total} bytes");
    }
}
