//! `/docs`: the API for people, and `/docs/openapi.json` for programs. All of it comes from the
//! binary.

use actix_web::{
    HttpResponse,
    http::header,
    web::{self, ServiceConfig},
};

use crate::{openapi::Refusals, routes::Endpoint, service::Context};

/// Swagger UI sets styles of its own; everything else comes from here.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

type Asset = (&'static str, &'static str, &'static [u8]);

const ASSETS: [Asset; 6] = [
    ("", "text/html; charset=utf-8", include_bytes!("../../static/docs/index.html")),
    ("/", "text/html; charset=utf-8", include_bytes!("../../static/docs/index.html")),
    ("/page.js", "text/javascript", include_bytes!("../../static/docs/page.js")),
    (
        "/swagger-ui-bundle.js",
        "text/javascript",
        include_bytes!("../../static/vendor/swagger-ui/swagger-ui-bundle.js"),
    ),
    (
        "/swagger-ui.css",
        "text/css",
        include_bytes!("../../static/vendor/swagger-ui/swagger-ui.css"),
    ),
    (
        "/favicon-32x32.png",
        "image/png",
        include_bytes!("../../static/vendor/swagger-ui/favicon-32x32.png"),
    ),
];

/// The routes below `/docs`.
pub(crate) fn routes(context: Context, config: &mut ServiceConfig) {
    config.app_data(web::Data::new(context));
    Endpoint::new("/openapi.json").get(openapi).register(config);
    for (path, media_type, bytes) in ASSETS {
        let answer = move || async move {
            HttpResponse::Ok()
                .content_type(media_type)
                .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
                .body(bytes)
        };
        Endpoint::new(path).get(answer).register(config);
    }
}

/// `GET /docs/openapi.json`: this document.
#[utoipa::path(get, path = "/docs/openapi.json", tag = "Management", operation_id = "OpenApi", responses((status = 200, body = Object, content_type = "application/json"), Refusals))]
pub(crate) async fn openapi(context: web::Data<Context>) -> HttpResponse {
    HttpResponse::Ok().json(&context.appliance.openapi)
}
