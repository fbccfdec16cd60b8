// What users import as splitplane/runtime: the runtime of the decentralized operating system, and what services are written with.
export { lend, Lent, type Attached, type Giving, type ResolvedBuffer } from './attached.js';
export { Client, type CallOptions, type Proxy } from './client.js';
export {
  contract,
  Contract,
  Create,
  Delete,
  Get,
  Insert,
  Query,
  Replace,
  Submit,
  Tell,
  Update,
  Upsert,
  type Operation,
  type Request,
  type ReceivedRequest,
  type ReceivedResponse,
  type Response,
} from './contract.js';
export { Fault } from './fault.js';
export type { Log, LogLevel } from './kernel.js';
export {
  ManifestError,
  readManifest,
  type Manifest,
  type NetworkEntry,
  type SecurityEntry,
  type ServiceEntry,
} from './manifest.js';
export { Monitor, type MonitorOptions } from './monitor/monitor.js';
export type { Concurrency } from './port.js';
export { Runtime, type RuntimeInit, type RuntimeOptions } from './runtime.js';
export { Failure, failureOfFault } from './failure.js';
export { Files } from './services/files/contract.js';
export { FilesService, type FilesInit } from './services/files/service.js';
export { Service, type Call, type Handlers, type NotificationHandlers, type StateValue } from './service.js';
export {
  body,
  Body,
  boolean,
  buffer,
  bytes,
  choice,
  integer,
  list,
  number,
  optional,
  record,
  text,
  xml,
  type Received,
  type Sending,
} from './shape.js';
export { Console } from './services/console.js';
export { Constructor } from './services/constructor.js';
export { Directory } from './services/directory.js';
export { ManifestLoader } from './services/manifest-loader.js';
export { Memory } from './services/memory.js';
export { Node } from './services/node.js';
export { Security } from './services/security.js';
export { UriNames } from './services/uri-manager.js';
export type { RuntimeSnapshot, ServiceSnapshot } from './snapshot.js';
export type { Subscribed, SubscribeOptions } from './subscriber.js';
export { VERBS, type Verb } from './verbs.js';
