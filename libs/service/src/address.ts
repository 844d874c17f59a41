/** Addresses of listeners, host:port, with an IPv6 host in brackets. */

/** The host as sockets take it, and the port. */
export function splitAddress(address: string): { host: string; port: number } {
  const colon = address.lastIndexOf(":");
  return { host: address.slice(0, colon).replace(/^\[|\]$/g, ""), port: Number(address.slice(colon + 1)) };
}

/** The same host with another port, such as the one that was got for 0. */
export function withPort(address: string, port: number): string {
  return `${address.slice(0, address.lastIndexOf(":"))}:${port}`;
}
