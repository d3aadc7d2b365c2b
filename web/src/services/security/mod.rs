//! `/v2/security`: the certificate, plain ports, the admin password, reset.

mod answers;
mod csr;
mod upload;

use actix_web::{
    HttpRequest, HttpResponse,
    web::{self, ServiceConfig},
};
use portcullis_actors::{
    auth::{DisableAuthentication, SetAdminPassword, SetJobToken},
    blocking,
    certificate::{ActiveCertificate, InstallCertificate, Judgement, RestoreDefaultCertificate},
    supervisor::SetInsecurePorts,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use utoipa::{OpenApi, ToSchema};
use zeroize::Zeroizing;

pub(crate) use self::answers::ServedCertificate;
use self::{
    answers::{
        AuditRecord, CertificateChanged, CertificateInstalled, CertificateJudged,
        CertificateServed, Done, PasswordState, PemOrJson, Remarks, ThrottledAddresses,
        UploadAnswer,
    },
    upload::{CertificateUpload, UploadOptions},
};
use crate::{
    front::{By, note_change},
    http::{
        body::Json,
        error::{ApiError, Code, ErrorBody},
        query::{self, Query},
    },
    service::{
        Authentication, Context, Kind, Mount, Service, Start, StartError, Tables,
        endpoint::Endpoint,
        openapi::{self, Refusals},
        table::ConfigError,
    },
};

/// The kind of the security API.
#[derive(Debug, Default)]
pub struct Security;

impl Kind for Security {
    fn name(&self) -> &'static str {
        "security"
    }

    // `[security]` concerns the whole appliance, and the program reads it.
    fn configure(&self, _: &mut Tables<'_>) -> Result<Start, ConfigError> {
        Ok(Start::new(|door| async move {
            Ok::<_, StartError>(RunningSecurity(web::Data::new(door.context().clone())))
        }))
    }
}

/// The security API.
struct RunningSecurity(web::Data<Context>);

impl Service for RunningSecurity {
    fn administers(&self) -> bool {
        true
    }

    fn mounts(&self) -> Vec<Mount> {
        let context = self.0.clone();
        vec![Mount::new("/v2/security", Authentication::Admin, move |config| {
            routes(context.clone(), config);
        })]
    }

    fn openapi(&self) -> Option<Value> {
        openapi::part(&Document::openapi())
    }
}

#[derive(OpenApi)]
#[openapi(
    paths(
        get_certificate,
        install_certificate,
        restore_default_certificate,
        get_insecure_ports,
        set_insecure_ports,
        get_admin_password,
        set_admin_password,
        disable_authentication,
        set_job_token,
        remove_job_token,
        throttled,
        reset,
        audit,
        csr::create,
        csr::list,
        csr::get,
        csr::delete,
    ),
    components(schemas(PemOrJson))
)]
struct Document;

fn routes(context: web::Data<Context>, config: &mut ServiceConfig) {
    config.app_data(context);
    Endpoint::new("/sslcertificate")
        .get(get_certificate)
        .post(install_certificate)
        .delete(restore_default_certificate)
        .register(config);
    Endpoint::new("/csr").get(csr::list).post(csr::create).register(config);
    Endpoint::new("/csr/{id}").get(csr::get).delete(csr::delete).register(config);
    Endpoint::new("/insecureports")
        .get(get_insecure_ports)
        .post(set_insecure_ports)
        .register(config);
    Endpoint::new("/adminpassword")
        .get(get_admin_password)
        .post(set_admin_password)
        .delete(disable_authentication)
        .register(config);
    Endpoint::new("/jobtoken").post(set_job_token).delete(remove_job_token).register(config);
    Endpoint::new("/throttled").get(throttled).register(config);
    Endpoint::new("/audit").get(audit).register(config);
    Endpoint::new("/reset").delete(reset).register(config);
}

/// `GET /v2/security/sslcertificate`, as JSON or with `?format=pem` the chain that is served.
#[utoipa::path(get, path = "/v2/security/sslcertificate", tag = "Security", operation_id = "GetCertificate", params(("format" = Option<PemOrJson>, Query)), responses((status = 200, content((CertificateServed = "application/json"), (String = "application/x-pem-file"))), Refusals))]
async fn get_certificate(
    request: HttpRequest,
    context: web::Data<Context>,
) -> Result<HttpResponse, ApiError> {
    let mut query = Query::of(&request)?;
    let format = PemOrJson::asked(&mut query)?;
    query.finish()?;
    let active = context.owners.certificates.active();
    Ok(match format {
        PemOrJson::Pem => {
            let chain = active.bundle.certificate_pem();
            HttpResponse::Ok().content_type("application/x-pem-file").body(chain)
        }
        PemOrJson::Json => {
            let judged = active.clone();
            let warnings =
                blocking::run(move || judged.bundle.warnings_at(OffsetDateTime::now_utc())).await?;
            let certificate = ServedCertificate::of(&active);
            HttpResponse::Ok().json(CertificateServed { certificate, warnings })
        }
    })
}

/// `POST /v2/security/sslcertificate`: answers once new connections see the certificate.
///
/// A certificate without a key is completed by the key that waits for it. `?force=true` takes an
/// expired one, `?dry_run=true` tells what would be installed and changes nothing.
#[utoipa::path(post, path = "/v2/security/sslcertificate", tag = "Security", operation_id = "InstallCertificate", params(("force" = Option<bool>, Query), ("dry_run" = Option<bool>, Query)), request_body(content = CertificateUpload, content_type = "multipart/form-data"), responses((status = 200, body = UploadAnswer), Refusals, (status = 409, body = ErrorBody), (status = 415, body = ErrorBody)))]
async fn install_certificate(
    By(by): By,
    context: web::Data<Context>,
    options: UploadOptions,
    upload: CertificateUpload,
) -> Result<web::Json<UploadAnswer>, ApiError> {
    let waiting = context.owners.certificates.waiting_keys().clone();
    let judge = move || upload.judge(options.force, &waiting);
    let judgement = blocking::run(judge).await??;
    let Judgement { bundle, warnings, waiting_key } = judgement;
    let remarks = Remarks { warnings, waiting_key };
    if options.dry_run {
        let judged =
            ActiveCertificate { bundle, is_default: false, installed: None, fallback: None };
        return Ok(web::Json(UploadAnswer::Judged(CertificateJudged {
            message: "Certificate judged, nothing was installed",
            dry_run: true,
            certificate: ServedCertificate::of(&judged),
            remarks,
        })));
    }
    if let Some(watched) = &context.appliance.watched_certificate
        && !context.appliance.upload_beside_watch
    {
        let text = format!(
            "the certificate is followed from {}, so an upload would be replaced by it; change that file, or set upload = \"allow\" in [tls]",
            watched.certificate.display()
        );
        return Err(ApiError::conflict(Code::CERTIFICATE_FOLLOWED, text));
    }
    let install = InstallCertificate { bundle, by };
    let installed = context.owners.certificate.send(install).await??;
    let changed = CertificateChanged {
        message: "Certificate installed",
        certificate: ServedCertificate::of(&installed.certificate),
        generations: installed.generations,
    };
    Ok(web::Json(UploadAnswer::Installed(CertificateInstalled { changed, remarks })))
}

/// `DELETE /v2/security/sslcertificate`: the default certificate serves again.
#[utoipa::path(delete, path = "/v2/security/sslcertificate", tag = "Security", operation_id = "RestoreDefaultCertificate", responses((status = 200, body = CertificateChanged), Refusals))]
async fn restore_default_certificate(
    By(by): By,
    context: web::Data<Context>,
) -> Result<web::Json<CertificateChanged>, ApiError> {
    let restore = RestoreDefaultCertificate { by };
    let restored = context.owners.certificate.send(restore).await??;
    Ok(web::Json(CertificateChanged {
        message: "Default certificate restored",
        certificate: ServedCertificate::of(&restored.certificate),
        generations: restored.generations,
    }))
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct InsecurePortsSetting {
    enable_insecure_ports: bool,
}

/// `GET /v2/security/insecureports`
#[utoipa::path(get, path = "/v2/security/insecureports", tag = "Security", operation_id = "GetInsecurePorts", responses((status = 200, body = InsecurePortsSetting), Refusals))]
async fn get_insecure_ports(context: web::Data<Context>) -> web::Json<InsecurePortsSetting> {
    let enable_insecure_ports = context.owners.insecure_ports.are_enabled();
    web::Json(InsecurePortsSetting { enable_insecure_ports })
}

/// `POST /v2/security/insecureports`
#[utoipa::path(post, path = "/v2/security/insecureports", tag = "Security", operation_id = "SetInsecurePorts", request_body = InsecurePortsSetting, responses((status = 200, body = InsecurePortsSetting), Refusals))]
async fn set_insecure_ports(
    request: HttpRequest,
    By(by): By,
    context: web::Data<Context>,
    Json(setting): Json<InsecurePortsSetting>,
) -> Result<web::Json<InsecurePortsSetting>, ApiError> {
    let enabled = setting.enable_insecure_ports;
    let set = SetInsecurePorts { enabled, by };
    context.owners.supervisor.send(set).await??;
    note_change(&request, format!("plain HTTP {}", if enabled { "on" } else { "off" }));
    Ok(web::Json(setting))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewPassword {
    #[schema(value_type = String, min_length = 1, max_length = 72)]
    password: Zeroizing<String>,
}

/// `GET /v2/security/adminpassword`: whether there is one, never which.
#[utoipa::path(get, path = "/v2/security/adminpassword", tag = "Security", operation_id = "GetAdminPassword", responses((status = 200, body = PasswordState), Refusals))]
async fn get_admin_password(context: web::Data<Context>) -> web::Json<PasswordState> {
    let authenticator = &context.owners.authenticator;
    web::Json(PasswordState {
        auth_enabled: authenticator.is_enabled(),
        default_password: authenticator.has_default_password(),
    })
}

/// `POST /v2/security/adminpassword`: the old one fails everywhere once this is answered.
#[utoipa::path(post, path = "/v2/security/adminpassword", tag = "Security", operation_id = "SetAdminPassword", request_body = NewPassword, responses((status = 200, body = Done), Refusals))]
async fn set_admin_password(
    By(by): By,
    context: web::Data<Context>,
    Json(new): Json<NewPassword>,
) -> Result<web::Json<Done>, ApiError> {
    let set = SetAdminPassword { password: new.password, by };
    context.owners.auth.send(set).await??;
    Ok(web::Json(Done::new("Admin password updated")))
}

/// `DELETE /v2/security/adminpassword`: authentication is off until a password is set.
#[utoipa::path(delete, path = "/v2/security/adminpassword", tag = "Security", operation_id = "DisableAuthentication", responses((status = 200, body = Done), Refusals))]
async fn disable_authentication(
    By(by): By,
    context: web::Data<Context>,
) -> Result<web::Json<Done>, ApiError> {
    let disable = DisableAuthentication { by };
    context.owners.auth.send(disable).await??;
    let warning = "Anybody who reaches this appliance may administer it now; POST a password here to end that";
    Ok(web::Json(Done { message: "Authentication switched off", warning: Some(warning) }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewJobToken {
    #[schema(value_type = String, min_length = 1, max_length = 4096, pattern = "^[!-~]+$")]
    user_token: Zeroizing<String>,
}

/// `POST /v2/security/jobtoken`
#[utoipa::path(post, path = "/v2/security/jobtoken", tag = "Security", operation_id = "SetJobToken", request_body = NewJobToken, responses((status = 200, body = Done), Refusals))]
async fn set_job_token(
    By(by): By,
    context: web::Data<Context>,
    Json(new): Json<NewJobToken>,
) -> Result<web::Json<Done>, ApiError> {
    let set = SetJobToken { token: Some(new.user_token), by };
    context.owners.auth.send(set).await??;
    Ok(web::Json(Done::new("Job token set")))
}

/// `DELETE /v2/security/jobtoken`
#[utoipa::path(delete, path = "/v2/security/jobtoken", tag = "Security", operation_id = "RemoveJobToken", responses((status = 200, body = Done), Refusals))]
async fn remove_job_token(
    By(by): By,
    context: web::Data<Context>,
) -> Result<web::Json<Done>, ApiError> {
    let remove = SetJobToken { token: None, by };
    context.owners.auth.send(remove).await??;
    Ok(web::Json(Done::new("Job token removed")))
}

/// `GET /v2/security/throttled`: the addresses that are slowed or refused now.
#[utoipa::path(get, path = "/v2/security/throttled", tag = "Security", operation_id = "GetThrottledAddresses", responses((status = 200, body = ThrottledAddresses), Refusals))]
async fn throttled(context: web::Data<Context>) -> web::Json<ThrottledAddresses> {
    let (addresses, count) = context.owners.authenticator.throttled_addresses();
    web::Json(ThrottledAddresses { addresses, count })
}

/// `DELETE /v2/security/reset`: waiting keys go as well.
#[utoipa::path(delete, path = "/v2/security/reset", tag = "Security", operation_id = "Reset", responses((status = 200, body = CertificateChanged), Refusals))]
async fn reset(
    By(by): By,
    context: web::Data<Context>,
) -> Result<web::Json<CertificateChanged>, ApiError> {
    let generations = context.owners.reset(&by).await?;
    Ok(web::Json(CertificateChanged {
        message: "Security settings reset: default certificate, default password, plain HTTP on, no job token, no waiting keys",
        certificate: ServedCertificate::of(&context.owners.certificates.active()),
        generations,
    }))
}

/// Entries that `GET audit` gives unless it is asked for more.
const AUDIT_LIMIT: usize = 100;
const AUDIT_LIMIT_MAX: usize = 10_000;

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct AuditQuery {
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<usize>,
    /// Entries before this time are left out.
    #[param(format = DateTime)]
    since: Option<String>,
}

/// `GET /v2/security/audit?limit=&since=`: the newest entries first.
#[utoipa::path(get, path = "/v2/security/audit", tag = "Security", operation_id = "Audit", params(AuditQuery), responses((status = 200, body = AuditRecord), Refusals))]
async fn audit(
    context: web::Data<Context>,
    query: Result<web::Query<AuditQuery>, actix_web::Error>,
) -> Result<web::Json<AuditRecord>, ApiError> {
    let asked = query
        .map_err(|err| query::invalid(None, format!("the query takes limit and since: {err}")))?;
    let limit = asked.limit.unwrap_or(AUDIT_LIMIT);
    if !(1..=AUDIT_LIMIT_MAX).contains(&limit) {
        let text = format!("limit is {limit}; it must be 1 to {AUDIT_LIMIT_MAX}");
        return Err(query::invalid(Some("limit"), text));
    }
    let since = asked
        .since
        .as_deref()
        .map(|since| OffsetDateTime::parse(since, &Rfc3339))
        .transpose()
        .map_err(|_| {
            let text = "since must be a time such as 2026-01-31T12:00:00Z";
            query::invalid(Some("since"), text.into())
        })?;
    let audit = context.owners.audit.clone();
    let entries = blocking::run(move || audit.read(limit, since))
        .await?
        .map_err(|err| ApiError::internal("the audit record cannot be read", &err))?;
    Ok(web::Json(AuditRecord { entries }))
}
