//! Figures of the machine, in the documented shapes.

use std::{collections::BTreeMap, path::Path};

use actix_web::web;
use portcullis_actors::blocking;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    http::error::ApiError,
    service::{Context, Folder, openapi::Refusals},
    services::shared::host_figures::{self, FileSystem},
};

async fn on_blocking_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    Ok(blocking::run(work).await?)
}

#[derive(Serialize, ToSchema)]
pub(super) struct CpuInfo {
    usage_percentage: f32,
    architecture: String,
    model_name: String,
    /// A string, as documented.
    cpus: String,
    vendor: String,
    hyperthreading: bool,
    flags: String,
}

/// `GET /v2/management/cpuinfo`
#[utoipa::path(get, path = "/v2/management/cpuinfo", tag = "Diagnostics", operation_id = "CpuInfo", responses((status = 200, body = CpuInfo), Refusals))]
pub(super) async fn cpuinfo() -> Result<web::Json<CpuInfo>, ApiError> {
    let found = on_blocking_thread(host_figures::processors).await?;
    Ok(web::Json(CpuInfo {
        usage_percentage: found.usage_percentage,
        architecture: found.architecture,
        model_name: found.model_name,
        cpus: found.count.to_string(),
        vendor: found.vendor,
        hyperthreading: found.hyperthreading,
        flags: found.flags,
    }))
}

#[derive(Serialize, ToSchema)]
pub(super) struct MemInfo {
    available_kb: u64,
    total_kb: u64,
    usage_percentage: f64,
    used_kb: u64,
}

/// `GET /v2/management/meminfo`
#[utoipa::path(get, path = "/v2/management/meminfo", tag = "Diagnostics", operation_id = "MemInfo", responses((status = 200, body = MemInfo), Refusals))]
pub(super) async fn meminfo() -> Result<web::Json<MemInfo>, ApiError> {
    let memory = on_blocking_thread(host_figures::memory).await?;
    Ok(web::Json(MemInfo {
        available_kb: memory.available / 1024,
        total_kb: memory.total / 1024,
        usage_percentage: memory.used as f64 * 100.0 / memory.total.max(1) as f64,
        used_kb: memory.used / 1024,
    }))
}

#[derive(Serialize, ToSchema)]
pub(super) struct DiskInfo {
    disks: Vec<Disk>,
}

#[derive(Serialize, ToSchema)]
struct Disk {
    /// What lies there: `data`, the data directory; of a service what it says, such as `jobs`.
    name: String,
    path: String,
    mountpoint: String,
    filesystem: String,
    total_kb: u64,
    available_kb: u64,
    used_kb: u64,
    usage_percentage: f64,
}

impl From<FileSystem> for Disk {
    fn from(found: FileSystem) -> Self {
        Self {
            usage_percentage: found.usage_percentage(),
            name: found.name,
            path: found.path.display().to_string(),
            total_kb: found.total / 1024,
            available_kb: found.available / 1024,
            used_kb: (found.total - found.free) / 1024,
            mountpoint: found.mountpoint,
            filesystem: found.kind,
        }
    }
}

/// What the services keep on the disk; some of it may not be there yet.
pub(super) fn folders(context: &Context) -> Vec<Folder> {
    let residents = context.house.residents().iter();
    residents.flat_map(|resident| resident.service.folders()).collect()
}

/// `GET /v2/management/diskinfo`: the data directory, and what services keep.
#[utoipa::path(get, path = "/v2/management/diskinfo", tag = "Diagnostics", operation_id = "DiskInfo", responses((status = 200, body = DiskInfo), Refusals))]
pub(super) async fn diskinfo(context: web::Data<Context>) -> Result<web::Json<DiskInfo>, ApiError> {
    let data_dir = context.appliance.data_dir.clone();
    let folders = folders(&context);
    let found = on_blocking_thread(move || {
        let mut paths: Vec<(&str, &Path)> = vec![("data", &data_dir)];
        let there = folders.iter().filter(|folder| folder.path.is_dir());
        paths.extend(there.map(|folder| (folder.name.as_str(), folder.path.as_path())));
        host_figures::file_systems(&paths)
    })
    .await?;
    Ok(web::Json(DiskInfo { disks: found.into_iter().map(Disk::from).collect() }))
}

/// `GET /v2/management/nodeinfo`: flat labels, all strings.
#[utoipa::path(get, path = "/v2/management/nodeinfo", tag = "Diagnostics", operation_id = "NodeInfo", responses((status = 200, body = BTreeMap<String, String>), Refusals))]
pub(super) async fn nodeinfo() -> Result<web::Json<BTreeMap<String, String>>, ApiError> {
    Ok(web::Json(on_blocking_thread(host_figures::labels).await?))
}
