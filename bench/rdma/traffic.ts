/**
 * What the agents run for the subject `splitplane`: its traffic over RDMA, between the addresses of the hosts' devices.
 */
import { trafficOver } from '../subjects/splitplane.js';

// Set on every host of the laboratory; without it there is no device to listen on, and listening says so.
export const traffic = trafficOver('rdma', process.env['LAB_SELF'] ?? '127.0.0.1');
