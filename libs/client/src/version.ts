/** What a worker says it is. A test holds it against package.json, which is not there to be read once this is packed. */
export const sdkVersion = "0.1.0";
