// The audit: its filters are in the reader's zone.
import "./page.js";
import { followMoments } from "./moments.js";

followMoments();
