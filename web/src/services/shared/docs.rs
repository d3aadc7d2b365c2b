//! An API for people: `/docs` for the whole appliance, `/v2/ui` for jobs, each with `openapi.json`
//! for programs beside it. All of it comes from the binary.

use actix_web::{
    HttpResponse,
    http::header,
    web::{Bytes, ServiceConfig},
};

use crate::service::endpoint::Endpoint;

/// Swagger UI sets styles of its own; everything else comes from here.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Where the files think that they are.
const WRITTEN_FOR: &str = "/docs/";
const PAGE: &str = include_str!("../../../../static/docs/index.html");
const SCRIPT: &str = include_str!("../../../../static/docs/page.js");

type Asset = (&'static str, &'static str, &'static [u8]);

const ASSETS: [Asset; 3] = [
    (
        "/swagger-ui-bundle.js",
        "text/javascript",
        include_bytes!("../../../../static/vendor/swagger-ui/swagger-ui-bundle.js"),
    ),
    (
        "/swagger-ui.css",
        "text/css",
        include_bytes!("../../../../static/vendor/swagger-ui/swagger-ui.css"),
    ),
    (
        "/favicon-32x32.png",
        "image/png",
        include_bytes!("../../../../static/vendor/swagger-ui/favicon-32x32.png"),
    ),
];

/// The page below `prefix`; it shows the OpenAPI document that the service serves as
/// `openapi.json` there.
pub(crate) fn routes(prefix: &str, config: &mut ServiceConfig) {
    let here = |text: &str| Bytes::from(text.replace(WRITTEN_FOR, &format!("{prefix}/")));
    let page = here(PAGE);
    file("", "text/html; charset=utf-8", page.clone(), config);
    file("/", "text/html; charset=utf-8", page, config);
    file("/page.js", "text/javascript", here(SCRIPT), config);
    for (path, media_type, bytes) in ASSETS {
        file(path, media_type, Bytes::from_static(bytes), config);
    }
}

fn file(path: &str, media_type: &'static str, bytes: Bytes, config: &mut ServiceConfig) {
    let answer = move || {
        let bytes = bytes.clone();
        async move {
            HttpResponse::Ok()
                .content_type(media_type)
                .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
                .body(bytes)
        }
    };
    Endpoint::new(path).get(answer).register(config);
}
