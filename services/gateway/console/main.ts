/** Where the page begins. */
import { html } from "htm/preact";
import { render } from "preact";
import { startKeys } from "./keys.ts";
import { startRouter } from "./router.ts";
import { Shell } from "./shell.ts";

const page = document.querySelector("#page");
if (page === null) throw new Error("the document has no #page");
page.replaceChildren();
startRouter();
startKeys();
render(html`<${Shell} />`, page);
