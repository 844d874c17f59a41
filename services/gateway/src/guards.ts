/**
 * What keeps other web pages away while there is no identity. A page of somebody else, open in a browser that reaches us, can send
 * requests here: by our address (its Origin gives it away) or by a name of its own that it made point to us (its Host does).
 */
import { isIP } from "node:net";
import { HttpRefusal } from "./problem.ts";

export interface Guards {
  /** Throws unless the request is meant for us and comes from no foreign page. */
  check(headers: { readonly host?: string | undefined; readonly origin?: string | undefined }): void;
  isListedOrigin(origin: string): boolean;
}

/** `hosts` without ports, `origins` as browsers write them; both in small letters. */
export function createGuards({
  hosts,
  origins,
}: {
  readonly hosts: readonly string[];
  readonly origins: readonly string[];
}): Guards {
  const isListedOrigin = (origin: string) => origins.includes(origin.toLowerCase());

  // A page can only be at an address in figures that is our own; a name can be made to point anywhere (DNS rebinding).
  function isOurs(hostname: string): boolean {
    const bare = hostname.replace(/^\[|\]$/g, "");
    return bare === "localhost" || bare.endsWith(".localhost") || isIP(bare) !== 0 || hosts.includes(bare);
  }

  return {
    isListedOrigin,
    check({ host = "", origin }) {
      const url = URL.canParse(`http://${host}`) ? new URL(`http://${host}`) : null;
      if (url === null || !isOurs(url.hostname)) throw unknownHost();
      if (origin === undefined || isListedOrigin(origin)) return;
      // The scheme is left out: a proxy in front may speak TLS.
      if (URL.canParse(origin) && new URL(origin).host === url.host) return;
      throw foreignOrigin();
    },
  };
}

function unknownHost(): HttpRefusal {
  return new HttpRefusal(421, {
    code: "FAILED_PRECONDITION",
    reason: "HOST_NOT_ALLOWED",
    message: "the gateway does not go by the name in Host; CAPSTAN_HTTP_HOSTS lists the names it goes by",
  });
}

function foreignOrigin(): HttpRefusal {
  return new HttpRefusal(403, {
    code: "FAILED_PRECONDITION",
    reason: "ORIGIN_NOT_ALLOWED",
    message: "the page in Origin may not call the gateway; CAPSTAN_HTTP_ORIGINS lists the pages that may",
  });
}
